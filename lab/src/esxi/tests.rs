//! Tests of the hosts' sshd, by a real SSH client.

use super::client::{Executor, script};
use super::*;

const LINE_HEAD: &str = concat!(
    r#"command="sh -c 'DS=$(echo \"$SSH_ORIGINAL_COMMAND\" | sed -n \"s/^DS=\\([^;]*\\);.*/\\1/p\"); "#,
    r#"CMD=$(echo \"$SSH_ORIGINAL_COMMAND\" | sed -n \"s/^DS=[^;]*;CMD=\\(.*\\)/\\1/p\"); "#,
    r#"if [ -z \"$DS\" ]; then echo \"SSH_OK\"; else SSH_ORIGINAL_COMMAND=\"$CMD\" exec sh "#,
    r#"/vmfs/volumes/$DS/secure-vmkfstools-wrapper; fi'",no-port-forwarding,no-agent-forwarding,no-X11-forwarding"#
);

async fn hosts() -> EsxiHosts {
    let known = [("host-1".to_owned(), "esxi-1".to_owned())];
    EsxiHosts::start([127, 0, 0, 1].into(), &known, &BTreeSet::from(["san".to_owned()])).await.unwrap()
}

#[tokio::test]
async fn the_populators_key_copies_through_its_restricted_command_and_no_other_key_gets_in() {
    let hosts = hosts().await;
    let host = hosts.host("esxi-1").unwrap();
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let pem = key.to_openssh(Default::default()).unwrap();
    assert!(Executor::connect(&host, &pem).await.is_none(), "its key is not there yet");
    let public = key.public_key().to_openssh().unwrap();
    // Without the restricted command the populator does not take it for its own.
    let write = |line: String| {
        let text = format!("{}\n{line}\n", hosts.strangers);
        host.disk().files.insert(KEYS.to_owned(), text);
    };
    write(public.clone());
    assert!(Executor::connect(&host, &pem).await.is_none());
    write(format!("{LINE_HEAD} {public} mtv-matrix"));
    let own = Executor::connect(&host, &pem).await.unwrap();
    assert_eq!(own.version("san").await, None, "nobody has brought the script");
    host.upload("san", script().0);
    assert_eq!(own.version("san").await.as_deref(), Some(script().1));
    let (source, target) = ("/vmfs/volumes/san/vm/vm.vmdk", "/vmfs/devices/disks/naa.1");
    let task = own.clone_disk("san", source, target).await.unwrap();
    assert!(own.look("san", &task).await.unwrap());
    own.clean("san", &task).await.unwrap();
    assert!(own.look("san", &task).await.is_err_and(|why| why.contains("not found")));
    assert!(own.clone_disk("san", "/etc/shadow", target).await.is_err_and(|why| why.contains("not in allowed")));
    let delta = own.clone_disk("san", "/vmfs/volumes/san/vm/vm-000001.vmdk", target).await.unwrap();
    assert!(!own.look("san", &delta).await.unwrap());
    assert_eq!(hosts.leftovers().len(), 1);
    write(String::new());
    assert!(hosts.leftovers().is_empty());
    hosts.stop().await;
}

#[test]
fn a_shell_line_is_run_as_sh_does_it() {
    let mut disk = Disk::default();
    disk.files.insert("f".to_owned(), "one\ntwo".to_owned());
    let mut sh = |line: &str| {
        let answer = shell::run(&mut disk, line);
        (answer.stdout, answer.code)
    };
    assert_eq!(sh("mkdir /tmp/l || exit 75; cat f"), ("one\ntwo".to_owned(), 0));
    assert_eq!(sh("mkdir /tmp/l || exit 75; cat f"), (String::new(), 75));
    assert_eq!(
        sh("grep -v -x -F -e 'two' f > g; test $? -lt 2 && printf '%s\\n' 'it'\\''s' >> g && cat g"),
        ("one\nit's\n".to_owned(), 0)
    );
    assert_eq!(sh("grep -v -x -F -e x nowhere > g; test $? -lt 2 && cat g").1, 1);
    assert_eq!(sh("test -e f || exit 3; rm -f g; rmdir /tmp/l; frobnicate").1, 127);
}
