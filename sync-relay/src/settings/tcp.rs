//! Where devices in networks that let no UDP through reach the relay.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use fieldmesh::api::Problem;
use fieldmesh_net::TcpPort;
use serde::Deserialize;

use super::Settings;
use crate::problem;

/// What somebody said of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum TcpSaid {
    /// Nobody is served over it.
    Off,
    /// An address of its own.
    At(SocketAddr),
}

impl TcpSaid {
    /// What to do; without a word it is the address of QUIC.
    pub(super) fn port(said: Option<Self>) -> TcpPort {
        match said {
            None => TcpPort::Beside,
            Some(Self::Off) => TcpPort::Off,
            Some(Self::At(address)) => TcpPort::At(address),
        }
    }
}

/// What is to be done about TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TcpPlan {
    /// Where to listen.
    pub(crate) port: TcpPort,
    /// What somebody should know of that.
    pub(crate) warning: Option<String>,
}

impl Settings {
    /// What is to be done about TCP: what was not asked for gives way to the ports for HTTP.
    ///
    /// # Errors
    ///
    /// It is to listen where a port for HTTP was put.
    pub(crate) fn tcp_plan(&self) -> Result<TcpPlan, Problem> {
        let address = match self.tcp {
            TcpPort::Off => return Ok(TcpPlan { port: TcpPort::Off, warning: None }),
            TcpPort::Beside => self.quic,
            TcpPort::At(address) => address,
        };
        let others = [(Some(self.http.address), "--http"), (self.http.operations, "--operations")];
        let taken = others.into_iter().find_map(|(other, flag)| {
            let other = other.filter(|other| overlap(*other, address))?;
            Some(format!("{flag} has the TCP port at {other}"))
        });
        match taken {
            None => Ok(TcpPlan { port: self.tcp, warning: self.unlike_quic(address) }),
            Some(taken) if self.tcp == TcpPort::Beside => {
                Ok(TcpPlan { port: TcpPort::Off, warning: Some(not_over_tcp(&taken)) })
            }
            Some(taken) => Err(problem::usage(format!("{taken}; give another address with --tcp"))),
        }
    }

    /// Devices know one address of a relay, and dial it by UDP and by TCP.
    fn unlike_quic(&self, tcp: SocketAddr) -> Option<String> {
        let (quic, tcp) = (self.quic.port(), tcp.port());
        (quic != tcp).then(|| {
            format!(
                "devices dial TCP at the port of --quic: unless something in front of the relay \
                 leads from there to {tcp}, nobody is served over TCP"
            )
        })
    }
}

/// What somebody should know where a port cannot be had that nobody asked for.
pub(crate) fn not_over_tcp(reason: &str) -> String {
    format!(
        "devices in networks that let no UDP through are not served, because {reason}; free the \
         port, give another address with --tcp, or say `--tcp off`"
    )
}

/// Whether two sockets cannot have both addresses.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    // Every address of IPv6 takes those of IPv4 with it.
    let takes = |one: IpAddr, other: IpAddr| {
        one == other || (one.is_unspecified() && (one.is_ipv6() || other.is_ipv4()))
    };
    let (ip, other_ip) = (one.ip(), other.ip());
    one.port() != 0 && one.port() == other.port() && (takes(ip, other_ip) || takes(other_ip, ip))
}

impl FromStr for TcpSaid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            format!("{text:?} is neither `off` nor an address; write it like [::]:7843")
        })
    }
}

impl TryFrom<String> for TcpSaid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_is_an_address_or_off() {
        assert_eq!("off".parse(), Ok(TcpSaid::Off));
        assert_eq!("[::]:443".parse(), Ok(TcpSaid::At("[::]:443".parse().unwrap())));
        for text in ["", "on", "7843", "relay.example.org:7843"] {
            let error = text.parse::<TcpSaid>().unwrap_err();
            assert!(error.contains("neither `off` nor an address"), "{error}");
        }
    }

    /// What is to be done where these were said.
    fn plan(quic: &str, tcp: TcpPort, http: &str) -> Result<TcpPlan, Problem> {
        let mut settings = Settings::merge(super::super::Said::default(), Default::default())?;
        settings.quic = quic.parse().unwrap();
        settings.tcp = tcp;
        settings.http.address = http.parse().unwrap();
        settings.tcp_plan()
    }

    #[test]
    fn tcp_that_nobody_asked_for_gives_way_to_http() {
        let given = plan("[::]:7843", TcpPort::Beside, "127.0.0.1:7843").unwrap();
        assert_eq!(given.port, TcpPort::Off);
        let warning = given.warning.unwrap();
        assert!(warning.contains("--http has the TCP port at 127.0.0.1:7843"), "{warning}");
        for http in ["127.0.0.1:7880", "127.0.0.2:7843"] {
            let plan = plan("127.0.0.1:7843", TcpPort::Beside, http).unwrap();
            assert_eq!(plan, TcpPlan { port: TcpPort::Beside, warning: None });
        }
        let asked = TcpPort::At("[::]:7880".parse().unwrap());
        let error = plan("[::]:7843", asked, "127.0.0.1:7880").unwrap_err();
        assert!(error.detail.contains("with --tcp"), "{}", error.detail);
    }

    #[test]
    fn every_address_takes_those_of_its_kind_and_of_ipv6_all() {
        let both = |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[::]:1", "0.0.0.0:1"),
        ] {
            assert!(both(one, other) && both(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("0.0.0.0:1", "[::1]:1"),
        ] {
            assert!(!both(one, other) && !both(other, one), "{one} {other}");
        }
    }

    #[test]
    fn another_port_than_that_of_quic_is_told() {
        let other = TcpPort::At("[::]:443".parse().unwrap());
        let given = plan("[::]:7843", other, "127.0.0.1:7880").unwrap();
        assert_eq!(given.port, other);
        assert!(given.warning.unwrap().contains("at the port of --quic"));
        let alike = plan("[::]:443", other, "127.0.0.1:7880").unwrap();
        assert_eq!(alike, TcpPlan { port: other, warning: None });
    }
}
