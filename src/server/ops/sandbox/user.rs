//! The user that the server becomes when it needs root no more.

use std::fmt::{self, Display};
use std::fs;
use std::io;

use nix::unistd::{self, Gid, Group, Uid, setgroups, setresgid, setresuid};

use crate::net::in_call;

/// A user other than root, and a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl User {
    /// Parses a name or number, perhaps with a colon and a group. Without one, the group is that of
    /// the user.
    ///
    /// # Errors
    /// A sentence for the user of the program.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, group) = match text.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (text, None),
        };
        let known = match name.parse() {
            Ok(number) => unistd::User::from_uid(Uid::from_raw(number)),
            Err(_) => unistd::User::from_name(name),
        };
        let known = known.map_err(|error| format!("cannot read the list of users: {error}"))?;
        let uid = match (name.parse(), &known) {
            (Ok(number), _) => Uid::from_raw(number),
            (Err(_), Some(user)) => user.uid,
            (Err(_), None) => return Err("there is no user of this name".into()),
        };
        let gid = match (group, &known) {
            (Some(group), _) => parse_group(group)?,
            (None, Some(user)) => user.gid,
            (None, None) => {
                return Err("this number is no user's: give a group, such as 1000:1000".into());
            }
        };
        if uid.is_root() {
            return Err("must not be root".into());
        }
        let name = known.map_or_else(|| name.to_owned(), |user| user.name);
        Ok(Self { name, uid, gid })
    }

    /// Makes all threads of the process run as this user, for good.
    ///
    /// # Errors
    /// The system refuses it, or the process could become root again.
    pub(super) fn assume(&self) -> io::Result<()> {
        setgroups(&[]).map_err(|error| in_call("setgroups")(error.into()))?;
        setresgid(self.gid, self.gid, self.gid)
            .map_err(|error| in_call("setresgid")(error.into()))?;
        setresuid(self.uid, self.uid, self.uid)
            .map_err(|error| in_call("setresuid")(error.into()))?;
        if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
            return Err(io::Error::other("the process can become root again"));
        }
        // They may stay where the bits of a container say so (PR_SET_SECUREBITS).
        match fs::read_to_string("/proc/thread-self/status") {
            Ok(status) if has_capabilities(&status) => {
                Err(io::Error::other("the process keeps capabilities of root"))
            }
            _ => Ok(()),
        }
    }
}

impl Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, uid, gid } = self;
        write!(f, "{name} ({uid}:{gid})")
    }
}

fn parse_group(text: &str) -> Result<Gid, String> {
    if let Ok(number) = text.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err("there is no group of this name".into()),
        Err(error) => Err(format!("cannot read the list of groups: {error}")),
    }
}

/// Returns `true` if a file `status` of `/proc` shows permitted capabilities.
fn has_capabilities(status: &str) -> bool {
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    fields.any(|(name, value)| name == "CapPrm" && value.trim().bytes().any(|digit| digit != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_a_name_or_a_number_and_a_group() {
        let nobody = unistd::User::from_name("nobody").unwrap().unwrap();
        let group = Group::from_gid(nobody.gid).unwrap().unwrap().name;
        let (uid, gid) = (nobody.uid, nobody.gid);
        for text in [
            "nobody".to_owned(),
            uid.to_string(),
            format!("nobody:{group}"),
            format!("{uid}:{gid}"),
        ] {
            let user = User::parse(&text).unwrap();
            assert_eq!(user.to_string(), format!("nobody ({uid}:{gid})"), "{text}");
        }
        let user = User::parse("4000000:17").unwrap();
        assert_eq!(user.to_string(), "4000000 (4000000:17)");
        for (text, reason) in [
            ("root", "must not be root"),
            ("0:1000", "must not be root"),
            ("", "there is no user of this name"),
            ("nobody-there", "there is no user of this name"),
            ("-1", "there is no user of this name"),
            ("4000000", "give a group"),
            ("nobody:", "there is no group of this name"),
            ("nobody:none-there", "there is no group of this name"),
        ] {
            let error = User::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn capabilities_that_are_left_are_found() {
        let status = |permitted| format!("Name:\tserver\nCapInh:\t0\nCapPrm:\t{permitted}\n");
        assert!(!has_capabilities(&status("0000000000000000")));
        assert!(has_capabilities(&status("0000000000000400")));
    }
}
