//! Logging in to a migrated guest: SSH through KubeVirt's port-forward subresource.
//!
//! Reads, and runs what a story tells it to. A guest that boots refuses connections for a while; that is *not yet*, within the
//! limit. A guest that refuses the password three times in a row is an answer.

pub mod parse;
mod tunnel;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelMsg, Disconnect};
use secrecy::ExposeSecret;

use super::{Cluster, Poll, WaitError, retry, wait};
use crate::api::vm::{GuestInterface, GuestLogin, GuestOs};
use crate::config::Credentials;
use crate::event::Problem;
use parse::{linux_interfaces, windows_interfaces};
use tunnel::{Reached, Tunnel};

const SSH_PORT: u16 = 22;
/// One try, from the port-forward to the login.
const TRY_LIMIT: Duration = Duration::from_secs(30);
/// One command; Windows is slow after its first boot.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// After that many refused passwords in a row the guest means it.
const AUTH_TRIES: u32 = 3;
/// Rounds of questions of keyboard-interactive.
const QUESTION_ROUNDS: usize = 5;

/// Logs in over `…/virtualmachineinstances/NAME/portforward/22/tcp` and reads the guest's interfaces
/// (Linux and Windows). Tries until `limit`. `Err`: the way to the guest was closed to the end, which says
/// nothing of the guest.
pub async fn login(
    cluster: &Cluster,
    namespace: &str,
    vm: &str,
    os: GuestOs,
    credentials: &Credentials,
    limit: Duration,
) -> Result<GuestLogin, String> {
    let (asked, reached) = ask(cluster, namespace, vm, credentials, limit, &Question::Interfaces(os)).await;
    match asked {
        Ok(Ok(Said::Interfaces(interfaces))) => Ok(GuestLogin::Ok { interfaces: Ok(interfaces) }),
        Ok(Ok(Said::Output(_))) => Ok(GuestLogin::Ok { interfaces: Err("it told its output".to_owned()) }),
        Ok(Err(cause)) => Ok(GuestLogin::Ok { interfaces: Err(cause) }),
        Err(error) if reached == Reached::Way => Err(error.problem().message),
        Err(error) => Ok(GuestLogin::Failed(error.problem().message)),
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Output(String),
    /// It failed in the guest, or the guest lets nobody in; why.
    Failed(String),
    /// No VM of that name ran whenever it was asked for: no guest was asked.
    Absent(String),
}

/// Runs a command in the guest. `Err`: as of [`login`].
pub async fn run(
    cluster: &Cluster,
    namespace: &str,
    vm: &str,
    credentials: &Credentials,
    command: &str,
    limit: Duration,
) -> Result<Answer, String> {
    let question = Question::Command(command.to_owned());
    let (asked, reached) = ask(cluster, namespace, vm, credentials, limit, &question).await;
    match (asked, reached) {
        (Ok(Ok(Said::Output(text))), _) => Ok(Answer::Output(text)),
        (Ok(Ok(Said::Interfaces(_))), _) => Ok(Answer::Failed("it told its interfaces".to_owned())),
        (Ok(Err(cause)), _) => Ok(Answer::Failed(cause)),
        (Err(error), Reached::Way) => Err(error.problem().message),
        (Err(error), Reached::Absent) => Ok(Answer::Absent(error.problem().message)),
        (Err(error), Reached::Guest) => Ok(Answer::Failed(error.problem().message)),
    }
}

/// What a guest is asked.
enum Question {
    Interfaces(GuestOs),
    Command(String),
}

/// What it said.
enum Said {
    Interfaces(Vec<GuestInterface>),
    Output(String),
}

/// Logs in and asks, until `limit`. And how far the last try came.
async fn ask(
    cluster: &Cluster,
    namespace: &str,
    vm: &str,
    credentials: &Credentials,
    limit: Duration,
    question: &Question,
) -> (Result<Result<Said, String>, WaitError>, Reached) {
    let refused = AtomicU32::new(0);
    // Of the last try that came to an end: one that the limit cuts says nothing.
    let reached = Mutex::new(Reached::Way);
    let what = format!("a login to {namespace}/{vm} as {} over SSH", credentials.username);
    let tried = wait::poll(&what, limit, || async {
        let attempt = connect(cluster, namespace, vm, credentials, &reached);
        match tokio::time::timeout(TRY_LIMIT, attempt).await {
            Ok(Ok(session)) => {
                match session.answer(question).await {
                    // Cut off in the middle: what it would have said is not known yet.
                    Err(cause) if session.handle.is_closed() => Poll::NotYet(cause),
                    said => {
                        session.end().await;
                        Poll::Done(said)
                    }
                }
            }
            Ok(Err(Refusal::Password)) => {
                let times = refused.fetch_add(1, Ordering::Relaxed) + 1;
                let said = format!("the guest refuses the password of {}", credentials.username);
                if times < AUTH_TRIES {
                    return Poll::NotYet(said);
                }
                Poll::Failed(Problem::new(format!("{said} ({times} times in a row)")))
            }
            Ok(Err(Refusal::Transport(cause))) => {
                refused.store(0, Ordering::Relaxed);
                Poll::NotYet(cause)
            }
            Err(_) => {
                refused.store(0, Ordering::Relaxed);
                Poll::NotYet(format!("no SSH answer within {TRY_LIMIT:?}"))
            }
        }
    });
    let tried = tried.await;
    (tried, reached.into_inner().unwrap_or(Reached::Way))
}

enum Refusal {
    Password,
    Transport(String),
}

/// A logged-in session; dropping it ends the tunnel, and with it the SSH task.
struct Session {
    handle: Handle<AcceptHost>,
    _tunnel: Tunnel,
}

/// The host key of a VM that has just been migrated is known to nobody; the way to it is the API
/// server's TLS. Any key is accepted, RSA too (old guests have no other).
struct AcceptHost;

impl client::Handler for AcceptHost {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

fn broken(error: &russh::Error) -> Refusal {
    Refusal::Transport(format!("SSH broke: {}", retry::chain(error)))
}

async fn connect(
    cluster: &Cluster,
    namespace: &str,
    vm: &str,
    credentials: &Credentials,
    reached: &Mutex<Reached>,
) -> Result<Session, Refusal> {
    let tell = |far: Reached| {
        if let Ok(mut reached) = reached.lock() {
            *reached = far;
        }
    };
    let (tunnel, stream) = match tunnel::open(cluster, namespace, vm, SSH_PORT).await {
        Ok(opened) => {
            tell(Reached::Guest);
            opened
        }
        Err(closed) => {
            let (far, cause) = closed.told();
            tell(far);
            return Err(Refusal::Transport(cause));
        }
    };
    let config = client::Config { inactivity_timeout: Some(COMMAND_LIMIT), ..client::Config::default() };
    let mut handle = client::connect_stream(Arc::new(config), stream, AcceptHost).await.map_err(|e| broken(&e))?;
    let user = credentials.username.as_str();
    let password = credentials.password.expose_secret();
    let answer = handle.authenticate_password(user, password).await.map_err(|e| broken(&e))?;
    if matches!(answer, AuthResult::Success) || by_questions(&mut handle, user, password).await? {
        return Ok(Session { handle, _tunnel: tunnel });
    }
    Err(Refusal::Password)
}

/// Some guests ask for the password instead of taking it: every question is answered with it.
async fn by_questions(handle: &mut Handle<AcceptHost>, user: &str, password: &str) -> Result<bool, Refusal> {
    // A server that hangs up after the refused password has refused it.
    let Ok(mut answer) = handle.authenticate_keyboard_interactive_start(user, None).await else { return Ok(false) };
    for _ in 0..QUESTION_ROUNDS {
        match answer {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| password.to_owned()).collect();
                match handle.authenticate_keyboard_interactive_respond(answers).await {
                    Ok(next) => answer = next,
                    Err(_) => return Ok(false),
                }
            }
        }
    }
    Ok(false)
}

impl Session {
    /// Standard output of a command that ended with 0.
    async fn run(&self, command: &str) -> Result<String, String> {
        let failed = |because: String| format!("`{command}` failed in the guest: {because}");
        let running = async {
            let mut channel = self.handle.channel_open_session().await.map_err(|e| e.to_string())?;
            channel.exec(true, command).await.map_err(|e| e.to_string())?;
            let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), None);
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } => out.extend_from_slice(&data),
                    ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
                    ChannelMsg::ExitStatus { exit_status } => code = Some(exit_status),
                    ChannelMsg::Failure => return Err("the guest refuses to run commands".to_owned()),
                    _ => {}
                }
            }
            match code {
                Some(0) => Ok(String::from_utf8_lossy(&out).into_owned()),
                // Windows' sshd sometimes ends without a status; what it printed counts.
                None if !out.is_empty() => Ok(String::from_utf8_lossy(&out).into_owned()),
                None => Err("the connection ended".to_owned()),
                Some(code) => {
                    let said: String = String::from_utf8_lossy(&err).trim().chars().take(200).collect();
                    Err(format!("exit code {code} {said}"))
                }
            }
        };
        match tokio::time::timeout(COMMAND_LIMIT, running).await {
            Ok(result) => result.map_err(failed),
            Err(_) => Err(failed(format!("no end within {COMMAND_LIMIT:?}"))),
        }
    }

    async fn answer(&self, question: &Question) -> Result<Said, String> {
        match question {
            Question::Interfaces(os) => self.interfaces(*os).await.map(Said::Interfaces),
            Question::Command(command) => self.run(command).await.map(Said::Output),
        }
    }

    async fn interfaces(&self, os: GuestOs) -> Result<Vec<GuestInterface>, String> {
        match os {
            GuestOs::Linux => self.linux().await,
            GuestOs::Windows => self.windows().await,
            GuestOs::Unknown => self.any().await,
        }
    }

    async fn linux(&self) -> Result<Vec<GuestInterface>, String> {
        let addresses = self.run("ip -j addr show").await?;
        let routes = self.run("ip -j route show default").await?;
        // Further facts, which not every guest has.
        let resolv = self.run("cat /etc/resolv.conf").await.unwrap_or_default();
        let nmcli = self.run("nmcli -t -f GENERAL.DEVICE,DHCP4 device show").await.unwrap_or_default();
        linux_interfaces(&addresses, &routes, &resolv, &nmcli)
    }

    async fn windows(&self) -> Result<Vec<GuestInterface>, String> {
        let text = self.run("ipconfig /all").await?;
        let found = windows_interfaces(&text);
        if found.is_empty() { Err("`ipconfig /all` shows no adapter".to_owned()) } else { Ok(found) }
    }

    async fn any(&self) -> Result<Vec<GuestInterface>, String> {
        match self.linux().await {
            Ok(found) => Ok(found),
            Err(linux) => self.windows().await.map_err(|windows| format!("{linux}; {windows}")),
        }
    }

    async fn end(self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "done", "").await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::objects::fixture::mock;

    #[tokio::test(start_paused = true)]
    async fn a_way_that_is_closed_is_no_refusal_of_the_guest() {
        let credentials = Credentials { username: "root".into(), password: "x".to_owned().into() };
        let answered = async |code: u16| {
            let (cluster, _) = mock(move |_, _| (code, serde_json::Value::Null));
            login(&cluster, "ns", "vm", GuestOs::Linux, &credentials, Duration::from_secs(5)).await
        };
        for code in [401, 403, 429, 503] {
            assert!(answered(code).await.is_err(), "{code}");
        }
        for code in [404, 409, 500] {
            assert!(matches!(answered(code).await, Ok(GuestLogin::Failed(_))), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vm_that_does_not_run_is_no_guest_that_failed() {
        let credentials = Credentials { username: "root".into(), password: "x".to_owned().into() };
        let answered = async |code: u16| {
            let (cluster, _) = mock(move |_, _| (code, serde_json::Value::Null));
            run(&cluster, "ns", "vm", &credentials, "true", Duration::from_secs(5)).await
        };
        assert!(matches!(answered(404).await, Ok(Answer::Absent(why)) if why.contains("404")));
        assert!(matches!(answered(500).await, Ok(Answer::Failed(_))));
        assert!(answered(503).await.is_err());
    }
}
