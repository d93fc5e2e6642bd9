//! What the system allows a process.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process have as many files open as the system allows it at the most; gives how many
/// that are, or nothing where there is no limit.
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    // Where it is refused, the limit is what it was.
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// How many threads the system allows this process, its user or its groups, as far as it says;
/// nothing where there is no limit. Others may use some of them.
pub fn threads() -> Option<u64> {
    let of_user = getrlimit(Resource::Nproc).current;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = files(&groups).into_iter().filter_map(|file| fs::read_to_string(file).ok());
    // Where there is none it says `max`.
    let of_groups = of_groups.filter_map(|text| text.trim().parse().ok());
    of_user.into_iter().chain(of_groups).min()
}

/// The files with the limits of the groups that a process is in, and of those around them.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            _ if controllers.split(',').any(|name| name == "pids") => "/sys/fs/cgroup/pids",
            _ => continue,
        };
        let path = path.trim_start_matches('/');
        let around = Path::new(path).ancestors();
        files.extend(around.map(|group| Path::new(root).join(group).join("pids.max")));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_around_that_of_a_process_limit_it_too() {
        let unified = "0::/system.slice/sync-relay.service\n";
        let expected = [
            "/sys/fs/cgroup/system.slice/sync-relay.service/pids.max",
            "/sys/fs/cgroup/system.slice/pids.max",
            "/sys/fs/cgroup/pids.max",
        ];
        assert_eq!(files(unified), expected.map(PathBuf::from));
        let split = "9:name=systemd:/a\n8:pids:/a\n5:cpu,cpuacct:/b\nodd\n";
        let expected = ["/sys/fs/cgroup/pids/a/pids.max", "/sys/fs/cgroup/pids/pids.max"];
        assert_eq!(files(split), expected.map(PathBuf::from));
    }
}
