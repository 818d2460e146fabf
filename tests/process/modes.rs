//! Files and directories of the daemon are open to its own user alone, whatever the umask is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::support::{Starter, needs};

fn mode(path: &Path) -> String {
    let found = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    format!("{:o}", found.mode() & 0o7777)
}

/// Who can open the file of the state can lock it, and keep the daemon from starting.
#[test]
fn the_state_is_closed_to_others() {
    for umask in ["000", "022", "777"] {
        let starter = Starter::new();
        let above = starter.dir().join("above");
        let state = above.join("state");
        let mut telexd = starter.before(&format!("umask {umask}")).state_dir(&state).start();
        let modes = [&above, &state, &state.join("connections")].map(|path| mode(path));
        assert_eq!(modes, ["700", "700", "600"], "umask {umask}");
        telexd.stop();
    }
}

#[test]
fn what_was_open_to_others_is_closed() {
    let starter = Starter::new();
    let state = starter.dir().join("state");
    fs::create_dir(&state).expect("a directory");
    fs::write(state.join("connections"), "00000000000000000007\n").expect("a file");
    for (path, mode) in [(&state, 0o777), (&state.join("connections"), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    let telexd = starter.start();
    assert_eq!([mode(&state), mode(&state.join("connections"))], ["775", "600"]);
    assert_eq!(telexd.client().unique_id(), ":7");
}

/// In a mount namespace, so that the machine's own directories are left alone.
#[test]
fn the_directories_of_root_are_open_to_no_other_writer() {
    if !needs::root() {
        return;
    }
    let mount = "umask 0; set -- unshare -m sh -c \
                 'mount -t tmpfs none /run && mount -t tmpfs none /var/lib && exec \"$@\"' sh \"$@\"";
    let starter = Starter::new().listen_by_itself().state_dir("/var/lib/telexd".as_ref()).before(mount);
    let mut telexd = starter.start();
    assert_eq!(telexd.addresses, ["unix:/run/telexd/telex.sock"]);
    let root = telexd.process().root();
    let paths = ["run/telexd", "run/telexd/telex.sock", "var/lib/telexd", "var/lib/telexd/connections"];
    let modes = paths.map(|path| mode(&root.join(path)));
    assert_eq!(modes, ["755", "660", "700", "600"]);
    telexd.stop();
}
