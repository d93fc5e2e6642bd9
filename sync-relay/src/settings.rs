//! What can be set, and what wins: flags over environment over file over defaults.
//!
//! Flags and environment arrive together, as [`crate::args`] reads both.

mod acme;
mod file;
mod http;
mod quota;
mod tcp;
mod warnings;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::ValueEnum;
use fieldmesh::api::Problem;
use fieldmesh_net::TcpPort;
use fieldmesh_net::address::PORT_DEFAULT;
use serde::Deserialize;

pub(crate) use self::acme::AcmeSettings;
use self::http::HttpSaid;
pub(crate) use self::http::{HttpSettings, TlsSettings};
pub(crate) use self::quota::Grant;
pub(crate) use self::tcp::{TcpPlan, TcpSaid, not_over_tcp};
use crate::address;
use crate::args::{Cli, Command};
use crate::problem;
use crate::relay::{OPEN_TENANTS_MAX_DEFAULT, Quotas};

/// The largest number of public addresses: each makes invitations longer.
pub(crate) const PUBLIC_ADDRESSES_MAX: usize = 8;

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Everything that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The folder that holds everything.
    pub(crate) data: PathBuf,
    /// The UDP address for devices.
    pub(crate) quic: SocketAddr,
    /// The TCP address for those in networks that let no UDP through.
    pub(crate) tcp: TcpPort,
    /// The port for HTTP.
    pub(crate) http: HttpSettings,
    /// Where devices reach this relay; its own addresses where empty.
    pub(crate) public_addresses: Vec<String>,
    /// How many tenants are open at a time while nobody is connected to them.
    pub(crate) open_tenants_max: usize,
    /// How much of the disk each tenant may take.
    pub(crate) quotas: Quotas,
    /// Which log lines to write, if that was said.
    pub(crate) log: Option<String>,
    /// How they are written.
    pub(crate) log_format: LogFormat,
}

/// What one source says.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Said {
    data: Option<PathBuf>,
    quic: Option<SocketAddr>,
    tcp: Option<TcpSaid>,
    #[serde(skip)]
    http: HttpSaid,
    public_addresses: Option<Vec<String>>,
    open_tenants_max: Option<usize>,
    stored_bytes_max: Option<Grant>,
    log: Option<String>,
    log_format: Option<LogFormat>,
}

impl Settings {
    /// The settings of a command line, of the environment, and of the file that they name.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or something in it makes no sense.
    pub(crate) fn read(cli: &Cli) -> Result<Self, Problem> {
        let in_file = match &cli.global.config {
            Some(path) => file::read(path)?,
            None => Said::default(),
        };
        Self::merge(Said::on(cli), in_file)
    }

    fn merge(said: Said, in_file: Said) -> Result<Self, Problem> {
        let public_addresses =
            said.public_addresses.or(in_file.public_addresses).unwrap_or_default();
        if public_addresses.len() > PUBLIC_ADDRESSES_MAX {
            return Err(problem::usage(format!(
                "{} public addresses are too many; give at most {PUBLIC_ADDRESSES_MAX}",
                public_addresses.len()
            )));
        }
        for text in &public_addresses {
            address::check(text)?;
        }
        let open_tenants_max = said.open_tenants_max.or(in_file.open_tenants_max);
        let open_tenants_max = open_tenants_max.unwrap_or(OPEN_TENANTS_MAX_DEFAULT);
        if open_tenants_max == 0 {
            return Err(problem::usage("at least one tenant must be open; give 1 or more"));
        }
        let http = said.http.merge(in_file.http)?;
        let granted = said.stored_bytes_max.or(in_file.stored_bytes_max);
        let quotas = Quotas::new(granted.unwrap_or_default(), &http.tenants);
        Ok(Self {
            data: said.data.or(in_file.data).unwrap_or_else(|| "data".into()),
            quic: said.quic.or(in_file.quic).unwrap_or_else(quic_default),
            tcp: TcpSaid::port(said.tcp.or(in_file.tcp)),
            http,
            public_addresses,
            open_tenants_max,
            quotas,
            log: said.log.or(in_file.log),
            log_format: said.log_format.or(in_file.log_format).unwrap_or_default(),
        })
    }
}

impl Said {
    /// What is said on the command line or in the environment.
    fn on(cli: &Cli) -> Self {
        let listen = match &cli.command {
            Command::Run(args) => Some(&args.listen),
            Command::Invite(args) => Some(&args.listen),
            _ => None,
        };
        let run = match &cli.command {
            Command::Run(args) => Some(args),
            _ => None,
        };
        let public_addresses = listen.map(|listen| listen.public_addresses.clone());
        Self {
            data: cli.global.data.clone(),
            quic: listen.and_then(|listen| listen.quic),
            tcp: listen.and_then(|listen| listen.tcp),
            http: run.map(|args| HttpSaid::on(&args.http)).unwrap_or_default(),
            public_addresses: public_addresses.filter(|addresses| !addresses.is_empty()),
            open_tenants_max: run.and_then(|args| args.open_tenants_max),
            stored_bytes_max: run.and_then(|args| args.stored_bytes_max),
            log: cli.global.log.clone(),
            log_format: cli.global.log_format,
        }
    }
}

fn quic_default() -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, PORT_DEFAULT).into()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn on(line: &str) -> Said {
        Said::on(&Cli::try_parse_from(line.split(' ')).unwrap())
    }

    #[test]
    fn nothing_said_gives_the_documented_defaults() {
        let settings = Settings::merge(Said::default(), Said::default()).unwrap();
        assert_eq!(settings.data, PathBuf::from("data"));
        assert_eq!(settings.quic.to_string(), "[::]:7843");
        assert_eq!(settings.tcp, TcpPort::Beside);
        assert_eq!(settings.http.address.to_string(), "127.0.0.1:7880");
        assert_eq!(settings.log_format, LogFormat::Text);
        assert_eq!(settings.open_tenants_max, 500);
        assert!(settings.public_addresses.is_empty() && settings.log.is_none());
    }

    #[test]
    fn the_command_line_wins_over_the_file_setting_by_setting() {
        let text = "data = '/srv/relay'\nquic = '0.0.0.0:99'\ntcp = 'off'\nhttp = '127.0.0.1:98'\n\
                    public_addresses = ['a.example.org']\nopen_tenants_max = 20\n\
                    stored_bytes_max = '20 GiB'\nlog = 'info'\nlog_format = 'json'";
        let line = "sync-relay --log warn run --quic 127.0.0.1:7 --public b.example.org";
        let settings = Settings::merge(on(line), file::parse(text).unwrap()).unwrap();
        let expected = Settings {
            data: "/srv/relay".into(),
            quic: "127.0.0.1:7".parse().unwrap(),
            tcp: TcpPort::Off,
            http: settings.http.clone(),
            public_addresses: vec!["b.example.org".into()],
            open_tenants_max: 20,
            quotas: Quotas::new(Grant::Bytes(20 << 30), &settings.http.tenants),
            log: Some("warn".into()),
            log_format: LogFormat::Json,
        };
        assert_eq!(settings, expected);
        assert_eq!(settings.http.address.to_string(), "127.0.0.1:98");
    }

    #[test]
    fn public_addresses_are_checked_before_anybody_is_invited() {
        for line in ["--public relay:port", "--public https://relay", "--public a,b,c,d,e,f,g,h,i"]
        {
            let said = on(&format!("sync-relay run {line}"));
            assert!(Settings::merge(said, Said::default()).is_err(), "{line}");
        }
    }
}
