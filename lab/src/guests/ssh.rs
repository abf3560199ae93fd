//! One SSH session of one guest: login by password or key, `exec`, a shell with and without a PTY, and SFTP.

use std::collections::{HashMap, HashSet};

use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, Pty};

use super::access;
use super::machine::{Disk, Machine, raw};
use super::sftp::Sftp;
use super::terminal::{self, Shown, Terminal};
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

/// What runs in a channel.
enum Program {
    Shell(Box<Terminal>),
    Sftp(Box<Sftp>),
}

/// The state of a session.
pub struct GuestSession {
    guest: GuestProfile,
    machine: Machine,
    disk: Disk,
    door: Door,
    /// Channels that have asked for a terminal.
    terminals: HashSet<ChannelId>,
    programs: HashMap<ChannelId, Program>,
}

impl GuestSession {
    pub fn new(guest: GuestProfile, machine: Machine, disk: Disk, door: Door) -> Self {
        Self { guest, machine, disk, door, terminals: HashSet::new(), programs: HashMap::new() }
    }

    /// What a terminal shows; when its session is over, so is the channel.
    fn show(&mut self, channel: ChannelId, shown: Shown, session: &mut Session) -> Result<(), russh::Error> {
        if !shown.bytes.is_empty() {
            session.data(channel, shown.bytes)?;
        }
        let Some(code) = shown.left else { return Ok(()) };
        self.programs.remove(&channel);
        session.exit_status_request(channel, code)?;
        session.eof(channel)?;
        session.close(channel)
    }

    /// A key lets in as each user of the guest: their homes are one.
    fn lets_in(&self, user: &str, key: &PublicKey) -> bool {
        let same = |name: &str| if self.guest.windows { name.eq_ignore_ascii_case(user) } else { name == user };
        self.door != Door::Shut
            && self.guest.users.iter().any(|(name, _)| same(name))
            && access::opens(&self.guest, &self.disk, key)
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

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(if self.lets_in(user, offer.public_key) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        match self.door {
            Door::Booting => Err(russh::Error::Disconnect),
            _ if self.lets_in(user, key.public_key) => Ok(Auth::Accept),
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

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.terminals.insert(channel);
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let echoes = self.terminals.contains(&channel);
        let terminal = Terminal::shell(self.guest.clone(), self.machine.clone(), self.disk.clone(), echoes);
        let greeting = terminal.greeting();
        if !greeting.is_empty() {
            session.data(channel, greeting)?;
        }
        self.programs.insert(channel, Program::Shell(Box::new(terminal)));
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name != "sftp" {
            return session.channel_failure(channel);
        }
        let sftp = Sftp::new(self.guest.clone(), self.disk.clone());
        self.programs.insert(channel, Program::Sftp(Box::new(sftp)));
        session.channel_success(channel)
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        match self.programs.get_mut(&channel) {
            Some(Program::Shell(terminal)) => {
                let shown = terminal.type_in(data);
                self.show(channel, shown, session)
            }
            Some(Program::Sftp(sftp)) => match sftp.take(data) {
                Some(answers) if answers.is_empty() => Ok(()),
                Some(answers) => session.data(channel, answers),
                None => session.close(channel),
            },
            // Nothing that is run by `exec` reads.
            None => Ok(()),
        }
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        match self.programs.get_mut(&channel) {
            Some(Program::Shell(terminal)) => {
                let shown = terminal.ends();
                self.show(channel, shown, session)
            }
            Some(Program::Sftp(_)) => self.show(channel, Shown { bytes: Vec::new(), left: Some(0) }, session),
            None => Ok(()),
        }
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.programs.remove(&channel);
        self.terminals.remove(&channel);
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        let line = String::from_utf8_lossy(data);
        let answer = terminal::run(&self.guest, &mut self.machine.clone(), &self.disk, &line);
        if !answer.stdout.is_empty() {
            session.data(channel, raw(&answer.stdout))?;
        }
        if !answer.stderr.is_empty() {
            session.extended_data(channel, STDERR, answer.stderr.into_bytes())?;
        }
        session.exit_status_request(channel, answer.code)?;
        session.eof(channel)?;
        session.close(channel)
    }
}
