//! Whose a folder is, for a process that could write into it and should not.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The user that `folder` belongs to, where this process runs as root and that is somebody else: he
/// could not open what root writes there. His number with a `#` where he has no name.
pub fn other_than_root(folder: &Path) -> Option<String> {
    let owner = fs::metadata(folder).ok()?.uid();
    if !rustix::process::geteuid().is_root() || owner == 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    Some(name(owner, &users))
}

/// What `users`, in the form of the file passwd, call a user.
fn name(user: u32, users: &str) -> String {
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let number = fields.nth(1)?;
        (number == user.to_string()).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("#{user}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_a_name_is_told_by_his_number() {
        let users = "root:x:0:0::/root:/bin/sh\nodd\n:x:7:\nsync-relay:x:998:998::/:/bin/false\n";
        assert_eq!(name(998, users), "sync-relay");
        assert_eq!(name(7, users), "#7");
        assert_eq!(name(99, users), "#99");
    }
}
