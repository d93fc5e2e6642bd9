//! What is set and can be used, and yet is hardly meant.

use super::acme::is_domain;
use super::http::HttpSettings;

impl HttpSettings {
    /// What an operator should look at; fragments without a full stop.
    pub(crate) fn warnings(&self) -> Vec<String> {
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
        warnings
    }
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
        ] {
            assert_eq!(warnings(usual), [] as [&str; 0], "{usual}");
        }
        for (odd, words) in [
            ("http = '0.0.0.0:80'", "unencrypted"),
            ("http = '[::]:80'", "unencrypted"),
            ("domain = 'http://relay.example.org'", "no name of a host"),
            ("domain = 'relay.example.org:443'", "no name of a host"),
            ("domain = '.example.org'", "no name of a host"),
        ] {
            let told = warnings(odd);
            assert!(told.len() == 1 && told[0].contains(words), "{odd}: {told:?}");
        }
    }
}
