//! Which tenant a request names, beside the claim in its token. All names must agree.

use crate::Request;

/// The header that names a tenant.
const HEADER: &str = "x-tenant-subdomain";

/// The tenant that `request` names by its header or, below the server's `domain`, by its host.
///
/// # Errors
///
/// Header and host have two names; answer 403 unless both are of one tenant.
pub fn named(request: &Request, domain: Option<&str>) -> Result<Option<String>, TwoNames> {
    let header = request.header(HEADER).map(str::trim).filter(|slug| !slug.is_empty());
    let host = request.header("host").zip(domain).and_then(|(host, domain)| label(host, domain));
    match (header.map(str::to_lowercase), host) {
        (Some(header), Some(host)) if header != host => Err(TwoNames { header, host }),
        (Some(slug), _) | (None, Some(slug)) => Ok(Some(slug)),
        (None, None) => Ok(None),
    }
}

/// Header and host have two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoNames {
    /// That of the header.
    pub header: String,
    /// That of the host.
    pub host: String,
}

fn label(host: &str, domain: &str) -> Option<String> {
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name).to_lowercase();
    let label = host.strip_suffix(&domain.to_lowercase())?.strip_suffix('.')?;
    (!label.is_empty() && !label.contains('.')).then(|| label.to_owned())
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Moment;

    use super::*;
    use crate::Method;

    #[test]
    fn header_and_host_name_the_tenant_and_must_agree() {
        let request = Request::new(Method::Get, "/sync/pull", Moment::ZERO);
        let domain = Some("relay.example");
        assert_eq!(named(&request, domain), Ok(None));
        let host = request.clone().with_header("Host", "Acme.relay.example:443");
        assert_eq!(named(&host, domain), Ok(Some("acme".to_owned())));
        assert_eq!(named(&host, None), Ok(None));
        let both = host.clone().with_header("X-Tenant-Subdomain", "ACME");
        assert_eq!(named(&both, domain), Ok(Some("acme".to_owned())));
        let two = host.with_header("X-Tenant-Subdomain", "other");
        let (header, host) = ("other".to_owned(), "acme".to_owned());
        assert_eq!(named(&two, domain), Err(TwoNames { header, host }));
        for host in ["relay.example", "a.b.relay.example", "127.0.0.1:7880", "xrelay.example"] {
            let request = request.clone().with_header("Host", host);
            assert_eq!(named(&request, domain), Ok(None), "{host}");
        }
    }
}
