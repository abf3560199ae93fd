//! One SSH session of one guest: password login, `exec`, no shell.

use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session};
use russh::{Channel, ChannelId};

use super::shell;
use crate::ports::GuestProfile;

/// The stream of standard error in `SSH_MSG_CHANNEL_EXTENDED_DATA`.
const STDERR: u32 = 1;

/// Whether a guest lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    /// Every password is wrong.
    Shut,
    /// `pam_nologin`: sshd hangs up on whoever has the right password.
    Booting,
}

/// The state of a session.
pub struct GuestSession {
    guest: GuestProfile,
    door: Door,
}

impl GuestSession {
    pub fn new(guest: GuestProfile, door: Door) -> Self {
        Self { guest, door }
    }

    /// User names are compared as the guest's system does: Windows ignores case.
    fn knows(&self, user: &str, password: &str) -> bool {
        self.guest.users.iter().any(|(name, secret)| {
            let same = if self.guest.windows { name.eq_ignore_ascii_case(user) } else { name == user };
            same && secret == password
        })
    }
}

impl Handler for GuestSession {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        match self.door {
            Door::Booting => Err(russh::Error::Disconnect),
            Door::Open if self.knows(user, password) => Ok(Auth::Accept),
            Door::Open | Door::Shut => Ok(Auth::reject()),
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

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let answer = shell::run(&self.guest, &String::from_utf8_lossy(data));
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
