//! Three hosts on one network inside this machine, where this user may make them.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value as Json;

use crate::device::Device;
use crate::process::skipped;
use crate::relay::Relay;

/// The names of the hosts; their addresses are 10.77.0.1 and so on.
const HOSTS: [&str; 3] = ["a", "b", "c"];

/// Distinguishes the networks of one process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Network namespaces on a bridge; removed at the end, with whatever it did to them.
pub(crate) struct Lan {
    prefix: String,
    _alone: File,
}

/// What a cable has carried since it was spoilt, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) bytes: u64,
    /// Datagrams that fell off.
    pub(crate) drops: u64,
    /// How often a datagram had to wait.
    pub(crate) waits: u64,
}

impl Lan {
    /// Makes the network; says why where that is not possible. One exists at a time.
    pub(crate) fn make() -> Option<Self> {
        let alone = File::create(std::env::temp_dir().join("fieldmesh-lan.lock")).unwrap();
        alone.lock().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let lan = Self { prefix: format!("fm{}{number}", std::process::id()), _alone: alone };
        match lan.build() {
            Ok(()) => Some(lan),
            Err(reason) => {
                skipped(&format!("several hosts need root and `ip netns`: {reason}"));
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.namespace("sw");
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for (index, host) in HOSTS.iter().enumerate() {
            let namespace = self.namespace(host);
            let (port, address) = (format!("p{host}"), format!("10.77.0.{}/24", index + 1));
            ip(&["netns", "add", &namespace])?;
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &namespace,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
            ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// The device on a host.
    pub(crate) fn device(&self, host: &str, device: &Device) -> Device {
        device.with(self.mover(host))
    }

    /// The relay on a host.
    pub(crate) fn relay(&self, host: &str, relay: &Relay) -> Relay {
        relay.with(self.mover(host))
    }

    /// Turns a program into the same one on a host.
    fn mover(&self, host: &str) -> impl Fn(Command) -> Command + Send + Sync + 'static {
        let namespace = self.namespace(host);
        move |command| {
            let mut moved = Command::new("ip");
            moved.args(["netns", "exec", &namespace]).arg(command.get_program());
            moved.args(command.get_args());
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => moved.env(name, value),
                    None => moved.env_remove(name),
                };
            }
            if let Some(folder) = command.get_current_dir() {
                moved.current_dir(folder);
            }
            moved
        }
    }

    /// Lets no UDP out of a host: nothing is said to whoever sends it.
    pub(crate) fn block_udp(&self, host: &str) {
        ip(&["-n", &self.namespace(host), "rule", "add", "ipproto", "udp", "blackhole"]).unwrap();
    }

    /// Lets it out again.
    pub(crate) fn open_udp(&self, host: &str) {
        ip(&["-n", &self.namespace(host), "rule", "del", "ipproto", "udp", "blackhole"]).unwrap();
    }

    /// Pulls the cable of a host out of the switch.
    pub(crate) fn unplug(&self, host: &str) {
        self.switch_port(host, "down");
    }

    /// Puts it back.
    pub(crate) fn plug(&self, host: &str) {
        self.switch_port(host, "up");
    }

    fn switch_port(&self, host: &str, state: &str) {
        let (switch, port) = (self.namespace("sw"), format!("p{host}"));
        ip(&["-n", &switch, "link", "set", &port, state]).unwrap();
    }

    /// Switches the switch itself off: nobody hears of anybody.
    pub(crate) fn switch_off(&self) {
        ip(&["-n", &self.namespace("sw"), "link", "set", "br0", "down"]).unwrap();
    }

    /// Switches it on again.
    pub(crate) fn switch_on(&self) {
        ip(&["-n", &self.namespace("sw"), "link", "set", "br0", "up"]).unwrap();
    }

    /// Makes the cable of a host slow, in kilobits a second each way, with room for a second.
    pub(crate) fn slow_down(&self, host: &str, rate: u32) -> Option<()> {
        let (rate, limit) = (format!("{rate}kbit"), (rate * 1_000 / 8).to_string());
        self.spoil(host, &["tbf", "rate", &rate, "burst", "1600", "limit", &limit])
    }

    /// Makes the cable of a host long and bad, each way.
    pub(crate) fn stretch(&self, host: &str, delay_millis: u32, loss_percent: u32) -> Option<()> {
        let (delay, loss) = (format!("{delay_millis}ms"), format!("{loss_percent}%"));
        self.spoil(host, &["netem", "limit", "1000", "delay", &delay, "loss", &loss])
    }

    /// Sets a queueing discipline on both ends of a cable; says so where the kernel has none.
    fn spoil(&self, host: &str, discipline: &[&str]) -> Option<()> {
        for (namespace, device) in self.ends(host) {
            let change = ["-n", &namespace, "qdisc", "replace", "dev", &device, "root"];
            if let Err(reason) = command("tc", &[&change[..], discipline].concat()) {
                skipped(&format!("a bad cable needs `tc` and {}: {reason}", discipline[0]));
                return None;
            }
        }
        Some(())
    }

    /// What a spoilt cable has carried.
    pub(crate) fn carried(&self, host: &str) -> Carried {
        let mut carried = Carried { bytes: 0, drops: 0, waits: 0 };
        for (namespace, device) in self.ends(host) {
            let show = ["-n", &namespace, "-s", "-j", "qdisc", "show", "dev", &device];
            let shown: Json = serde_json::from_str(&command("tc", &show).unwrap()).unwrap();
            let number = |name: &str| shown[0][name].as_u64().unwrap();
            carried.bytes += number("bytes");
            carried.drops += number("drops");
            carried.waits += number("overlimits");
        }
        carried
    }

    /// The two ends of the cable of a host: namespaces and devices.
    fn ends(&self, host: &str) -> [(String, String); 2] {
        [(self.namespace(host), "eth0".to_owned()), (self.namespace("sw"), format!("p{host}"))]
    }

    /// Gives a host another address instead of the one it has.
    pub(crate) fn readdress(&self, host: &str, old: &str, new: &str) {
        let namespace = self.namespace(host);
        let (old, new) = (format!("{old}/24"), format!("{new}/24"));
        ip(&["-n", &namespace, "addr", "del", &old, "dev", "eth0"]).unwrap();
        ip(&["-n", &namespace, "addr", "add", &new, "dev", "eth0"]).unwrap();
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in HOSTS.iter().chain(&["sw"]) {
            // What was not made cannot be removed.
            let _ = ip(&["netns", "del", &self.namespace(host)]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    command("ip", arguments).map(drop)
}

fn command(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), told.trim()))
}
