//! What can be set of the port for HTTP.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use fieldmesh::api::Problem;
use fieldmesh_dialect::{Dialect, Dialects};
use fieldmesh_http::{Latecomers, Origins, Rate};
use serde::Deserialize;

use super::acme::{AcmeSaid, AcmeSettings};
use super::quota::Grant;
use super::tcp::overlap;
use super::warnings::doubled;
use crate::args::http::HttpArgs;
use crate::problem;
use crate::relay::Known;

/// The TCP port for HTTP unless told otherwise.
pub(crate) const HTTP_PORT_DEFAULT: u16 = 7880;

/// How long requests may go on once the relay was told to stop: well within what service managers
/// allow, and long enough for a load balancer to look at `/readyz` meanwhile.
const LAST_REQUESTS_MAX: Duration = Duration::from_secs(10);

/// Everything that is set of the port for HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpSettings {
    /// The TCP address.
    pub(crate) address: SocketAddr,
    /// That of operations, where it is another one.
    pub(crate) operations: Option<SocketAddr>,
    /// Names by which the operator asks there, besides those of the relay.
    pub(crate) operations_names: Vec<String>,
    /// Where its certificate is from, where the port speaks TLS.
    pub(crate) tls: Option<TlsSettings>,
    /// What is set of the shell.
    pub(crate) shell: fieldmesh_http::Settings,
    /// What is said of single tenants, by slug or end of the id.
    pub(crate) tenants: BTreeMap<String, Known>,
    /// What is said of them more than once, in words.
    pub(super) doubled: Vec<String>,
}

/// Where a certificate is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsSettings {
    /// From files that somebody else keeps up to date.
    Files {
        /// The certificates.
        certificate: PathBuf,
        /// The key of the first.
        key: PathBuf,
    },
    /// From an authority that is asked for it.
    Acme(AcmeSettings),
}

/// What one source says.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct HttpSaid {
    pub(super) http: Option<SocketAddr>,
    operations: Option<SocketAddr>,
    operations_names: Option<Vec<String>>,
    domain: Option<String>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    #[serde(skip)]
    pub(super) acme: AcmeSaid,
    trusted_proxies: Option<Vec<String>>,
    allowed_origins: Option<Vec<String>>,
    address_requests_a_second: Option<u32>,
    sync_requests_a_minute: Option<u32>,
    step_requests_a_minute: Option<u32>,
    tenant_requests_a_second: Option<u32>,
    tenants: Option<BTreeMap<String, TenantSaid>>,
}

/// What the file says of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantSaid {
    #[serde(default)]
    aliases: Vec<String>,
    dialects: Option<Vec<String>>,
    stored_bytes_max: Option<Grant>,
}

impl TenantSaid {
    /// What is said of the tenant `name` more than once.
    fn doubled(&self, name: &str) -> Vec<String> {
        let of = |setting: &str| format!("{setting} of [tenants.{name}]");
        let dialects = self.dialects.as_deref().unwrap_or_default();
        let dialects = doubled(&of("dialects"), dialects, str::to_owned);
        [doubled(&of("aliases"), &self.aliases, meant), dialects].concat()
    }
}

impl HttpSaid {
    /// What is said on the command line or in the environment.
    pub(super) fn on(args: &HttpArgs) -> Self {
        let listed = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        Self {
            http: args.http,
            operations: args.operations,
            operations_names: listed(&args.operations_names),
            domain: args.domain.clone(),
            tls_certificate: args.tls_certificate.clone(),
            tls_key: args.tls_key.clone(),
            acme: AcmeSaid::on(&args.acme),
            trusted_proxies: listed(&args.trusted_proxies),
            allowed_origins: listed(&args.allowed_origins),
            address_requests_a_second: args.address_requests_a_second,
            sync_requests_a_minute: args.sync_requests_a_minute,
            step_requests_a_minute: args.step_requests_a_minute,
            tenant_requests_a_second: args.tenant_requests_a_second,
            tenants: None,
        }
    }

    /// What holds, of this and of what the file says.
    pub(super) fn merge(self, in_file: Self) -> Result<HttpSettings, Problem> {
        let mut shell = fieldmesh_http::Settings {
            domain: self.domain.or(in_file.domain).map(|name| name.to_lowercase()),
            last_requests: LAST_REQUESTS_MAX,
            latecomers: Latecomers::Answered,
            ..fieldmesh_http::Settings::default()
        };
        for text in self.trusted_proxies.or(in_file.trusted_proxies).unwrap_or_default() {
            let network = text.parse();
            shell.proxies.push(
                network.map_err(|error| problem::usage(format!("trusted_proxies: {error}")))?,
            );
        }
        if let Some(origins) = self.allowed_origins.or(in_file.allowed_origins) {
            shell.origins = Origins::Only(checked_origins(origins)?);
        }
        let counts = [
            (self.address_requests_a_second, in_file.address_requests_a_second),
            (self.sync_requests_a_minute, in_file.sync_requests_a_minute),
            (self.step_requests_a_minute, in_file.step_requests_a_minute),
            (self.tenant_requests_a_second, in_file.tenant_requests_a_second),
        ];
        let rates = [
            &mut shell.address_rate,
            &mut shell.sync_rate,
            &mut shell.step_rate,
            &mut shell.tenant_rate,
        ];
        for (rate, (said, in_file)) in rates.into_iter().zip(counts) {
            set(rate, said.or(in_file))?;
        }
        let certificate = self.tls_certificate.or(in_file.tls_certificate);
        let key = self.tls_key.or(in_file.tls_key);
        let tls = tls(certificate, key, self.acme.merge(in_file.acme)?)?;
        shell.is_secure = tls.is_some();
        let tenants = self.tenants.or(in_file.tenants).unwrap_or_default();
        let doubled = tenants.iter().flat_map(|(name, said)| said.doubled(name)).collect();
        let tenants = tenants.into_iter().map(|(name, said)| Ok((name, known(said)?)));
        let tenants = tenants.collect::<Result<_, Problem>>()?;
        check_names(&tenants)?;
        let address = self.http.or(in_file.http).unwrap_or_else(address_default);
        let operations = self.operations.or(in_file.operations);
        if let Some(operations) = operations.filter(|operations| overlap(*operations, address)) {
            return Err(problem::usage(format!(
                "http ({address}) and operations ({operations}) cannot both listen there; give \
                 operations a port of its own, or leave it out: then the operator asks on the port \
                 of http, from this machine"
            )));
        }
        let names = self.operations_names.or(in_file.operations_names).unwrap_or_default();
        let operations_names = checked_names(names)?;
        Ok(HttpSettings { address, operations, operations_names, tls, shell, tenants, doubled })
    }
}

fn tls(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    acme: Option<AcmeSettings>,
) -> Result<Option<TlsSettings>, Problem> {
    match (certificate, key, acme) {
        (None, None, None) => Ok(None),
        (Some(certificate), Some(key), None) => Ok(Some(TlsSettings::Files { certificate, key })),
        (None, None, Some(acme)) => Ok(Some(TlsSettings::Acme(acme))),
        (_, _, Some(_)) => Err(problem::usage(
            "a certificate is from tls_certificate and tls_key or by ACME; give one of the two",
        )),
        _ => Err(problem::usage("tls_certificate and tls_key go together; give both")),
    }
}

fn set(rate: &mut Rate, count: Option<u32>) -> Result<(), Problem> {
    match count {
        Some(0) => Err(problem::usage("a limit of 0 requests lets nobody in; give 1 or more")),
        Some(count) => {
            rate.count = count;
            Ok(())
        }
        None => Ok(()),
    }
}

fn checked_origins(origins: Vec<String>) -> Result<Vec<String>, Problem> {
    for origin in &origins {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', ' '])) {
            return Err(problem::usage(format!(
                "{origin:?} is no origin; write it like https://app.example.org"
            )));
        }
    }
    Ok(origins)
}

fn checked_names(names: Vec<String>) -> Result<Vec<String>, Problem> {
    let is_name = |name: &String| {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        !name.is_empty() && name.chars().all(is_letter)
    };
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(problem::usage(format!(
            "operations_names: {name:?} is no name of a machine; write it like \
             relay.internal.example.org, without a port"
        )));
    }
    Ok(names)
}

/// The name that an alias is, however it was written.
fn meant(alias: &str) -> String {
    alias.trim().to_lowercase()
}

fn known(said: TenantSaid) -> Result<Known, Problem> {
    let dialects = match said.dialects {
        None => Dialects::all(),
        Some(names) => {
            if let Some(name) = names.iter().find(|name| Dialect::named(name).is_none()) {
                let all = Dialect::ALL.map(Dialect::as_str).join(", ");
                return Err(problem::usage(format!(
                    "there is no dialect {name:?}; choose of {all}"
                )));
            }
            let is_unused = |one: &Dialect| names.iter().all(|name| name != one.as_str());
            let unused = Dialect::ALL.into_iter().filter(is_unused);
            unused.fold(Dialects::all(), Dialects::without)
        }
    };
    let aliases = said.aliases.iter().map(|alias| meant(alias)).collect();
    Ok(Known { aliases, dialects, granted: said.stored_bytes_max })
}

/// Fails where a name would lead to two tenants: then it leads to none of them.
fn check_names(tenants: &BTreeMap<String, Known>) -> Result<(), Problem> {
    let mut whose: BTreeMap<&str, &str> =
        tenants.keys().map(|name| (name.as_str(), name.as_str())).collect();
    for (name, known) in tenants {
        for alias in &known.aliases {
            if let Some(other) = whose.insert(alias, name).filter(|other| other != name) {
                return Err(problem::usage(format!(
                    "{alias:?} is an alias of [tenants.{name}] and a name of [tenants.{other}]; \
                     give it to one of them, or requests by it are for neither"
                )));
            }
        }
    }
    Ok(())
}

fn address_default() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, HTTP_PORT_DEFAULT).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> Result<HttpSettings, String> {
        let mut said: HttpSaid = toml::from_str(text).map_err(|error| error.to_string())?;
        said.acme = toml::from_str(text).map_err(|error| error.to_string())?;
        HttpSaid::default().merge(said).map_err(|problem| problem.detail)
    }

    #[test]
    fn the_documented_limits_hold_unless_others_are_said() {
        let settings = merged("").unwrap();
        assert_eq!(settings.address.to_string(), "127.0.0.1:7880");
        let drained = fieldmesh_http::Settings {
            last_requests: LAST_REQUESTS_MAX,
            latecomers: Latecomers::Answered,
            ..fieldmesh_http::Settings::default()
        };
        assert_eq!(settings.shell, drained);
        assert!(settings.shell.proxies.is_empty());
        let text = "address_requests_a_second = 50\nsync_requests_a_minute = 60\n\
                    domain = 'Relay.Example.org'\ntrusted_proxies = ['10.0.0.0/8']";
        let shell = merged(text).unwrap().shell;
        assert_eq!((shell.address_rate, shell.sync_rate), (Rate::a_second(50), Rate::a_minute(60)));
        assert_eq!(shell.domain.as_deref(), Some("relay.example.org"));
        assert_eq!(shell.proxies.len(), 1);
    }

    #[test]
    fn a_tenant_has_further_names_and_the_dialects_it_uses() {
        let text = "[tenants.permian-west]\naliases = ['Acme']\ndialects = ['wellpulse']";
        let known = &merged(text).unwrap().tenants["permian-west"];
        assert!(known.aliases.contains("acme"));
        assert!(known.dialects.contains(Dialect::Wellpulse));
        assert!(!known.dialects.contains(Dialect::Vet));
    }

    #[test]
    fn what_makes_no_sense_is_found_before_the_relay_starts() {
        for (text, reason) in [
            (
                "tls_key = 'k'\ntls_certificate = 'c'\nacme_domains = ['a.example']\n\
                 acme_directory = 'https://a.example'\nacme_terms_agreed = true",
                "give one of the two",
            ),
            ("acme_contact = 'ops@example.org'", "acme_domains and acme_directory"),
            ("tls_key = 'key.pem'", "go together"),
            ("operations = '127.0.0.1:7880'", "cannot both listen there"),
            ("http = '[::]:80'\noperations = '10.0.0.1:80'", "a port of its own"),
            ("operations_names = ['relay.internal:7881']", "without a port"),
            ("operations_names = ['']", "no name of a machine"),
            ("trusted_proxies = ['relay']", "no address"),
            ("allowed_origins = ['app.example.org']", "no origin"),
            ("allowed_origins = ['*']", "no origin"),
            ("sync_requests_a_minute = 0", "lets nobody in"),
            ("[tenants.a]\ndialects = ['wells']", "there is no dialect \"wells\""),
            ("[tenants.a]\nalias = ['b']", "unknown field"),
            ("[tenants.a]\nstored_bytes_max = 100", "at least 4 MiB"),
            ("[tenants.a]\nstored_bytes_max = '2 rooms'", "write it like 20 GiB"),
            ("[tenants.a]\naliases = ['b']\n[tenants.b]", "a name of [tenants.b]"),
            ("[tenants.a]\naliases = ['c']\n[tenants.b]\naliases = ['C']", "for neither"),
        ] {
            let error = merged(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
