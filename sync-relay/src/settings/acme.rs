//! What can be set of the authority that issues the certificate of the port for HTTP.

use std::collections::BTreeSet;
use std::path::PathBuf;

use axum::http::Uri;
use axum::http::uri::Scheme;
use fieldmesh::api::Problem;
use serde::Deserialize;

use crate::args::acme::AcmeArgs;
use crate::problem;

/// The largest number of names in a certificate: the best known authority takes no more.
pub(crate) const DOMAINS_MAX: usize = 100;
/// The longest name of a domain.
const DOMAIN_LENGTH_MAX: usize = 253;
/// The longest part of one.
const LABEL_LENGTH_MAX: usize = 63;

/// Who is to issue the certificate, for which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AcmeSettings {
    /// The names, in lower case.
    pub(crate) domains: BTreeSet<String>,
    /// The address of the authority's directory.
    pub(crate) directory: String,
    /// Whom the authority may write to.
    pub(crate) contact: Option<String>,
    /// The authorities by which the directory proves its own name; those of the system where empty.
    pub(crate) roots: Option<PathBuf>,
}

/// What one source says.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct AcmeSaid {
    acme_domains: Option<Vec<String>>,
    acme_directory: Option<String>,
    acme_contact: Option<String>,
    acme_terms_agreed: Option<bool>,
    acme_roots: Option<PathBuf>,
}

impl AcmeSaid {
    /// What is said on the command line or in the environment.
    pub(super) fn on(args: &AcmeArgs) -> Self {
        Self {
            acme_domains: (!args.acme_domains.is_empty()).then(|| args.acme_domains.clone()),
            acme_directory: args.acme_directory.clone(),
            acme_contact: args.acme_contact.clone(),
            acme_terms_agreed: args.acme_terms_agreed,
            acme_roots: args.acme_roots.clone(),
        }
    }

    /// What holds, of this and of what the file says; nothing where neither names an authority.
    pub(super) fn merge(self, in_file: Self) -> Result<Option<AcmeSettings>, Problem> {
        let said = Self {
            acme_domains: self.acme_domains.or(in_file.acme_domains),
            acme_directory: self.acme_directory.or(in_file.acme_directory),
            acme_contact: self.acme_contact.or(in_file.acme_contact),
            acme_terms_agreed: self.acme_terms_agreed.or(in_file.acme_terms_agreed),
            acme_roots: self.acme_roots.or(in_file.acme_roots),
        };
        if said == Self::default() {
            return Ok(None);
        }
        let (Some(domains), Some(directory)) = (said.acme_domains, said.acme_directory) else {
            return Err(problem::usage(
                "a certificate by ACME needs acme_domains and acme_directory; give both, or none of \
                 the settings that begin with acme_",
            ));
        };
        check_directory(&directory)?;
        if said.acme_terms_agreed != Some(true) {
            return Err(problem::usage(format!(
                "whoever keeps {directory} has terms of service; read them, then set \
                 acme_terms_agreed to true"
            )));
        }
        let contact = said.acme_contact;
        if let Some(contact) = contact.as_ref().filter(|contact| !is_mail(contact)) {
            return Err(problem::usage(format!(
                "acme_contact: {contact:?} is no mail address; write it like ops@example.org"
            )));
        }
        let domains = checked_domains(&domains)?;
        Ok(Some(AcmeSettings { domains, directory, contact, roots: said.acme_roots }))
    }
}

fn check_directory(directory: &str) -> Result<(), Problem> {
    let uri: Option<Uri> = directory.parse().ok();
    let is_secure = |uri: Uri| {
        uri.scheme() == Some(&Scheme::HTTPS) && uri.host().is_some_and(|it| !it.is_empty())
    };
    match uri.is_some_and(is_secure) {
        true => Ok(()),
        false => Err(problem::usage(format!(
            "acme_directory: {directory:?} is no address that begins with https://"
        ))),
    }
}

fn checked_domains(domains: &[String]) -> Result<BTreeSet<String>, Problem> {
    let domains: BTreeSet<String> =
        domains.iter().map(|domain| domain.trim().to_lowercase()).collect();
    if domains.is_empty() || domains.len() > DOMAINS_MAX {
        return Err(problem::usage(format!(
            "acme_domains: {} names are none or too many; give 1 to {DOMAINS_MAX}",
            domains.len()
        )));
    }
    for domain in &domains {
        if domain.contains('*') {
            return Err(problem::usage(format!(
                "acme_domains: nobody can prove {domain} at a port; name each domain, or obtain \
                 the certificate with another program and give tls_certificate and tls_key"
            )));
        }
        if !is_domain(domain) {
            return Err(problem::usage(format!(
                "acme_domains: {domain:?} is no name of a domain; write it like relay.example.org"
            )));
        }
    }
    Ok(domains)
}

/// Whether an authority may certify the name: at least two labels, and no address.
pub(super) fn is_domain(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        (1..=LABEL_LENGTH_MAX).contains(&label.len())
            && label.bytes().all(is_letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= DOMAIN_LENGTH_MAX
        && name.split('.').all(is_label)
        && name.rsplit_once('.').is_some_and(|(_, last)| !is_number(last))
}

fn is_mail(text: &str) -> bool {
    let is_odd = |letter: char| letter.is_control() || letter.is_whitespace() || letter == ':';
    text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && is_domain(host))
        && !text.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> Result<Option<AcmeSettings>, String> {
        let said: AcmeSaid = toml::from_str(text).unwrap();
        AcmeSaid::default().merge(said).map_err(|problem| problem.detail)
    }

    fn with(changes: &[(&str, &str)]) -> Result<Option<AcmeSettings>, String> {
        let mut keys = vec![
            ("acme_domains", "['Relay.example.org', 'relay.example.org']"),
            ("acme_directory", "'https://acme.example/directory'"),
            ("acme_terms_agreed", "true"),
        ];
        for (key, value) in changes {
            keys.retain(|(other, _)| other != key);
            keys.push((key, value));
        }
        let lines = keys.iter().filter(|(_, value)| !value.is_empty());
        merged(&lines.map(|(key, value)| format!("{key} = {value}\n")).collect::<String>())
    }

    #[test]
    fn an_authority_is_asked_only_where_it_is_named() {
        assert_eq!(merged(""), Ok(None));
        let settings = with(&[("acme_contact", "'ops@example.org'")]).unwrap().unwrap();
        assert_eq!(settings.domains.iter().collect::<Vec<_>>(), ["relay.example.org"]);
        assert_eq!(settings.directory, "https://acme.example/directory");
        assert_eq!(settings.contact.as_deref(), Some("ops@example.org"));
    }

    #[test]
    fn what_cannot_lead_to_a_certificate_is_refused_with_its_reason() {
        for (key, value, told) in [
            ("acme_directory", "", "acme_domains and acme_directory"),
            ("acme_domains", "", "acme_domains and acme_directory"),
            ("acme_domains", "[]", "give 1 to 100"),
            ("acme_domains", "['*.example.org']", "nobody can prove *.example.org at a port"),
            ("acme_domains", "['relay']", "is no name of a domain"),
            ("acme_domains", "['192.0.2.7']", "is no name of a domain"),
            ("acme_domains", "['a..example']", "is no name of a domain"),
            ("acme_domains", "['https://relay.example.org']", "is no name of a domain"),
            ("acme_directory", "'http://acme.example/directory'", "begins with https://"),
            ("acme_directory", "'letsencrypt'", "begins with https://"),
            ("acme_terms_agreed", "", "terms of service"),
            ("acme_terms_agreed", "false", "terms of service"),
            ("acme_contact", "'mailto:ops@example.org'", "is no mail address"),
            ("acme_contact", "'ops'", "is no mail address"),
        ] {
            let refusal = with(&[(key, value)]).unwrap_err();
            assert!(refusal.contains(told), "{key} = {value}: {refusal}");
        }
    }
}
