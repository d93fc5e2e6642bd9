//! What is set and can be used, and yet is hardly meant.

use std::collections::BTreeMap;

use fieldmesh_dialect::Dialect;
use fieldmesh_http::Origins;
use fieldmesh_net::address as net_address;

use super::Settings;
use super::acme::is_domain;
use super::http::HttpSettings;
use crate::address;

impl Settings {
    /// What an operator should look at; fragments without a full stop.
    pub(crate) fn warnings(&self) -> Vec<String> {
        // One without a port is advertised with that of devices.
        let port = self.quic.port();
        let place = |text: &str| net_address::comparable(&address::with_port(text, port));
        let doubled = doubled("public_addresses", &self.public_addresses, place);
        [doubled, self.http.warnings()].concat()
    }
}

impl HttpSettings {
    /// What an operator should look at; fragments without a full stop.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(domain) = &self.shell.domain
            && !is_domain(&format!("tenant.{domain}"))
        {
            warnings.push(format!(
                "domain {domain:?} is no name of a host, so no request names a tenant by its host; \
                 write it like relay.example.org"
            ));
        }
        let is_behind_proxy = !self.shell.proxies.is_empty();
        if self.tls.is_none() && !self.address.ip().is_loopback() && !is_behind_proxy {
            warnings.push(format!(
                "passwords and tokens reach http {} unencrypted; have TLS there (tls_certificate \
                 and tls_key, or acme_domains), or name the proxy that has it as trusted_proxies",
                self.address
            ));
        }
        for (name, known) in &self.tenants {
            if !Dialect::ALL.iter().any(|dialect| known.dialects.contains(*dialect)) {
                warnings.push(format!(
                    "[tenants.{name}] has dialects = [], so no app can do anything for this tenant; \
                     name those that its apps speak ({}), or leave it out for all of them",
                    Dialect::ALL.map(Dialect::as_str).join(", ")
                ));
            }
        }
        warnings.extend(self.doubled());
        warnings
    }

    /// What is in a list more than once.
    fn doubled(&self) -> Vec<String> {
        let proxies: Vec<String> = self.shell.proxies.iter().map(ToString::to_string).collect();
        let origins = match &self.shell.origins {
            Origins::Any => &[][..],
            Origins::Only(origins) => origins,
        };
        let host = |name: &str| name.trim_end_matches('.').to_lowercase();
        let doubled = [
            doubled("trusted_proxies", &proxies, str::to_owned),
            doubled("allowed_origins", origins, origin),
            doubled("operations_names", &self.operations_names, host),
            self.doubled.clone(),
        ];
        doubled.concat()
    }
}

/// What a list has more than once, where texts mean the same that `meant` makes equal.
pub(super) fn doubled(
    setting: &str,
    texts: &[String],
    meant: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    let repeated = texts.iter().filter_map(|text| Some((known.insert(meant(text), text)?, text)));
    let words = repeated.map(|(first, text)| match first == text {
        true => format!("{setting} has {text:?} more than once; once is enough"),
        false => format!("{setting} has {first:?} and {text:?}, which are the same; keep one"),
    });
    words.collect()
}

/// An origin in lower case, without a final dot and without the port that it has anyway.
fn origin(text: &str) -> String {
    let text = text.to_lowercase();
    let port = if text.starts_with("https://") { ":443" } else { ":80" };
    text.strip_suffix(port).unwrap_or(&text).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::http::HttpSaid;

    fn warnings(text: &str) -> Vec<String> {
        let said: HttpSaid = toml::from_str(text).unwrap();
        HttpSaid::default().merge(said).unwrap().warnings()
    }

    #[test]
    fn what_is_hardly_meant_is_told_and_what_is_usual_is_not() {
        for usual in [
            "",
            "http = '[::1]:80'",
            "http = '0.0.0.0:80'\ntrusted_proxies = ['10.0.0.1']",
            "http = '[::]:443'\ntls_certificate = 'c'\ntls_key = 'k'",
            "domain = 'relay.example.org'",
            "domain = 'localhost'",
            "[tenants.a]\ndialects = ['vet']",
            "[tenants.a]",
        ] {
            assert_eq!(warnings(usual), [] as [&str; 0], "{usual}");
        }
        for (odd, words) in [
            ("http = '0.0.0.0:80'", "unencrypted"),
            ("http = '[::]:80'", "unencrypted"),
            ("domain = 'http://relay.example.org'", "no name of a host"),
            ("domain = 'relay.example.org:443'", "no name of a host"),
            ("domain = '.example.org'", "no name of a host"),
            ("[tenants.a]\ndialects = []", "[tenants.a] has dialects = []"),
        ] {
            let told = warnings(odd);
            assert!(told.len() == 1 && told[0].contains(words), "{odd}: {told:?}");
        }
    }
}
