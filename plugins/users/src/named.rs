//! Knows how rules name users and groups.
//! Never: what a rule says of them.

use std::fmt;

use serde_json::Value;

use crate::machine::{Members, Users};

/// A name in a rule that this machine does not have. It matches no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// `user` or `group`.
    pub key: &'static str,
    /// The name.
    pub name: String,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is not on this machine, and matches no connection", self.key, self.name)
    }
}

/// Groups, and the users in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Their ids, in order.
    pub gids: Vec<u32>,
    /// The user ids of their members, in order.
    pub members: Vec<u32>,
}

/// Reads the `user` of a rule: a name, a number, or a list of them. The error says what would be right.
pub fn uids(value: &Value, users: &dyn Users, unknown: &mut Vec<Unknown>) -> Result<Vec<u32>, String> {
    read("user", value, unknown, |name| users.uid(name), Ok)
}

impl Groups {
    /// Reads the `group` of a rule, likewise.
    pub fn read(value: &Value, users: &dyn Users, unknown: &mut Vec<Unknown>) -> Result<Groups, String> {
        let groups = read("group", value, unknown, |name| users.group(name), |gid| users.group_of(gid))?;
        let mut gids: Vec<u32> = groups.iter().map(|group| group.gid).collect();
        let mut members: Vec<u32> = groups.into_iter().flat_map(|Members { uids, .. }| uids).collect();
        for list in [&mut gids, &mut members] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(Groups { gids, members })
    }

    /// Whether a peer is in one of them: by the group that it connects with, or as a member.
    pub fn hold(&self, uid: Option<u32>, gid: Option<u32>) -> bool {
        let is_in = |list: &[u32], id: Option<u32>| id.is_some_and(|id| list.binary_search(&id).is_ok());
        is_in(&self.gids, gid) || is_in(&self.members, uid)
    }
}

/// Looks up each item of a list, or one in its place.
fn read<T>(
    key: &'static str,
    value: &Value,
    unknown: &mut Vec<Unknown>,
    by_name: impl Fn(&str) -> Result<Option<T>, String>,
    by_number: impl Fn(u32) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let items = match value {
        Value::Array(items) if items.is_empty() => {
            return Err(format!("\"{key}\" is empty; a key that is left out asks for nothing"));
        }
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    };
    let mut found = Vec::new();
    for item in items {
        let number = item.as_u64().and_then(|number| u32::try_from(number).ok());
        let looked_up = match (item.as_str(), number) {
            (Some(name), _) => by_name(name),
            (None, Some(number)) => by_number(number).map(Some),
            (None, None) => {
                return Err(format!("\"{key}\" is {item}; it must be a name or a number, or a list of them"));
            }
        };
        match looked_up.map_err(|why| format!("\"{key}\" is {item}, which {why}"))? {
            Some(one) => found.push(one),
            None => unknown.push(Unknown { key, name: item.as_str().unwrap_or_default().to_owned() }),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// alice is 1000, and in the group staff, which is 50.
    struct Town;

    impl Users for Town {
        fn uid(&self, user: &str) -> Result<Option<u32>, String> {
            if user == "torn" {
                Err("cannot be looked up".into())
            } else {
                Ok((user == "alice").then_some(1000))
            }
        }

        fn group(&self, group: &str) -> Result<Option<Members>, String> {
            if group == "staff" { self.group_of(50).map(Some) } else { Ok(None) }
        }

        fn group_of(&self, gid: u32) -> Result<Members, String> {
            Ok(Members { gid, uids: if gid == 50 { vec![1001, 1000, 1000] } else { Vec::new() } })
        }
    }

    #[test]
    fn names_and_numbers_one_or_a_list() {
        let read = |value: Value| {
            let mut unknown = Vec::new();
            let found = uids(&value, &Town, &mut unknown);
            (found, unknown)
        };
        assert_eq!(read(json!("alice")), (Ok(vec![1000]), vec![]));
        assert_eq!(read(json!(["alice", 7])), (Ok(vec![1000, 7]), vec![]));
        let (found, unknown) = read(json!(["bob", 7]));
        assert_eq!(found, Ok(vec![7]));
        assert_eq!(unknown[0].to_string(), "user \"bob\" is not on this machine, and matches no connection");
        for (value, why) in [
            (json!([]), "\"user\" is empty; a key that is left out asks for nothing"),
            (json!(true), "\"user\" is true; it must be a name or a number, or a list of them"),
            (json!(["alice", -1]), "\"user\" is -1; it must be a name or a number, or a list of them"),
            (
                json!(4294967296_u64),
                "\"user\" is 4294967296; it must be a name or a number, or a list of them",
            ),
            (json!("torn"), "\"user\" is \"torn\", which cannot be looked up"),
        ] {
            assert_eq!(read(value).0, Err(why.to_owned()));
        }
    }

    #[test]
    fn groups_hold_by_id_and_by_member() {
        let mut unknown = Vec::new();
        let mut read = |value: Value| Groups::read(&value, &Town, &mut unknown).expect("groups");
        let staff = read(json!("staff"));
        assert_eq!(staff, Groups { gids: vec![50], members: vec![1000, 1001] });
        assert_eq!(read(json!([50, "staff"])), staff);
        assert_eq!(read(json!(7)), Groups { gids: vec![7], members: vec![] }, "a number need not be known");
        assert!(
            staff.hold(Some(1), Some(50)) && staff.hold(Some(1000), Some(1)) && staff.hold(Some(1001), None)
        );
        assert!(!staff.hold(Some(50), Some(1000)) && !staff.hold(None, None));
        assert!(!read(json!("ghosts")).hold(Some(0), Some(0)));
        assert_eq!(unknown, [Unknown { key: "group", name: "ghosts".into() }]);
    }
}
