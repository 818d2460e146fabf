//! Knows the users and groups of this machine.
//! Never: what they may do.

use std::collections::HashMap;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, User};

/// The users and groups that rules name.
pub trait Users {
    /// The user id of a name, where there is such a user.
    fn uid(&self, user: &str) -> Result<Option<u32>, String>;

    /// The group of a name, where there is one.
    fn group(&self, group: &str) -> Result<Option<Members>, String>;

    /// The group of an id, which need not have a name.
    fn group_of(&self, gid: u32) -> Result<Members, String>;
}

/// A group: its id, and the users whose group it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Its id.
    pub gid: u32,
    /// The users, in no order.
    pub uids: Vec<u32>,
}

/// Those of the machine. Its lookups may block.
#[derive(Debug)]
pub struct Machine {
    accounts: Vec<Account>,
}

/// A line of `/etc/passwd`, which tells of all users at once: whose primary group a group is, and who has a
/// uid. Directory services seldom tell that, and the system's lookups are for one user at a time.
#[derive(Debug)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Machine {
    /// As it is now.
    pub fn here() -> Machine {
        Machine::read(&std::fs::read("/etc/passwd").unwrap_or_default())
    }

    fn read(passwd: &[u8]) -> Machine {
        let account = |line: &str| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            Some(Account { name: name.into(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        };
        Machine { accounts: String::from_utf8_lossy(passwd).lines().filter_map(account).collect() }
    }

    /// The names of uids. Of several the first counts.
    pub fn names(&self) -> HashMap<u32, String> {
        self.accounts.iter().rev().map(|account| (account.uid, account.name.clone())).collect()
    }

    /// Those whose group it is by `/etc/passwd`, and those whom its own line names.
    fn members(&self, gid: u32, named: &[String]) -> Result<Members, String> {
        let mut uids: Vec<u32> =
            self.accounts.iter().filter(|account| account.gid == gid).map(|account| account.uid).collect();
        for member in named {
            uids.extend(self.uid(member)?);
        }
        Ok(Members { gid, uids })
    }
}

impl Users for Machine {
    fn uid(&self, user: &str) -> Result<Option<u32>, String> {
        let found = User::from_name(user).map_err(cannot_look_up)?;
        Ok(found.map(|user| user.uid.as_raw()))
    }

    fn group(&self, group: &str) -> Result<Option<Members>, String> {
        let found = Group::from_name(group).map_err(cannot_look_up)?;
        found.map(|group| self.members(group.gid.as_raw(), &group.mem)).transpose()
    }

    fn group_of(&self, gid: u32) -> Result<Members, String> {
        let found = Group::from_gid(Gid::from_raw(gid)).map_err(cannot_look_up)?;
        self.members(gid, &found.map(|group| group.mem).unwrap_or_default())
    }
}

fn cannot_look_up(error: Errno) -> String {
    format!("cannot be looked up: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_there() {
        let machine = Machine::here();
        assert_eq!(machine.uid("root"), Ok(Some(0)));
        assert_eq!(machine.uid("no such user"), Ok(None));
        assert_eq!(machine.names().get(&0).map(String::as_str), Some("root"));
        let group = machine.group("root").expect("a lookup").expect("a group");
        assert_eq!(group.gid, 0);
        assert!(group.uids.contains(&0), "whose primary group it is: {group:?}");
        assert_eq!(machine.group_of(0), Ok(group));
        assert_eq!(machine.group("no such group"), Ok(None));
        assert_eq!(machine.group_of(4_000_000_000), Ok(Members { gid: 4_000_000_000, uids: vec![] }));
    }

    #[test]
    fn accounts_are_read_from_any_bytes() {
        let machine = Machine::read(b"a:x:1:7:\xff::\nbroken\nb:x:-1:7:::\nc:x:1:8:::\n");
        assert_eq!(machine.accounts.len(), 2);
        assert_eq!(machine.names()[&1], "a", "the first name of a uid counts");
    }
}
