//! One SSH session of one host: by password a shell's commands, by key what the key's line lets it do.

use std::sync::Arc;

use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};

use super::keys::{self, Permit};
use super::shell::Answer;
use super::{EsxiHost, KEYS, PASSWORD, USER, shell, wrapper};

/// The stream of standard error in `SSH_MSG_CHANNEL_EXTENDED_DATA`.
const STDERR: u32 = 1;

pub(super) struct HostSession {
    host: Arc<EsxiHost>,
    permit: Permit,
}

impl HostSession {
    pub(super) fn new(host: Arc<EsxiHost>) -> Self {
        Self { host, permit: Permit { command: None } }
    }

    fn answer(&self, asked: &str) -> Answer {
        match &self.permit.command {
            None => shell::run(&mut self.host.disk(), asked),
            Some(own) if own == wrapper::RESTRICTED => wrapper::restricted(&self.host, asked),
            // Any other command is what it is, and reads nothing of what was asked for.
            Some(own) => shell::run(&mut self.host.disk(), own),
        }
    }
}

impl Handler for HostSession {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        Ok(if user == USER && password == PASSWORD { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let file = self.host.disk().files.get(KEYS).cloned().unwrap_or_default();
        match keys::permit(&file, key.public_key) {
            Some(permit) if user == USER => {
                self.permit = permit;
                Ok(Auth::Accept)
            }
            _ => Ok(Auth::reject()),
        }
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let answer = self.answer(&String::from_utf8_lossy(data));
        if !answer.stdout.is_empty() {
            session.data(channel, answer.stdout.into_bytes())?;
        }
        if !answer.stderr.is_empty() {
            session.extended_data(channel, STDERR, answer.stderr.into_bytes())?;
        }
        session.exit_status_request(channel, answer.code)?;
        session.eof(channel)?;
        session.close(channel)
    }
}
