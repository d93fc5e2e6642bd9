//! The device that a request names in its query or its body, as its dialect does.
//!
//! It is found without the rest being well formed in the sense of the contract, so that whoever
//! counts knows of which device a request is that is refused.

use serde::Deserialize;

use crate::caller::Dialect;
use crate::name::NAME_SIZE_MAX;
use crate::request::Request;
use crate::route::Route;

/// The members of a body that name its device.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    #[serde(alias = "device_id")]
    device_id: Option<String>,
    #[serde(alias = "device_info")]
    device_info: Option<Info>,
}

/// How an app describes its device.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    #[serde(alias = "device_id")]
    device_id: Option<String>,
}

impl Route {
    /// The device that the query of `request` names, where its dialect reads it there.
    pub fn device_in_query(&self, request: &Request) -> Option<String> {
        match self.endpoint.dialect? {
            Dialect::Wellpulse | Dialect::Asset | Dialect::Health => {
                request.parameter("deviceId").filter(|name| is_name(name))
            }
            Dialect::Batch | Dialect::Vet => None,
        }
    }

    /// The device that the body of `request` names, where its dialect reads it there.
    pub fn device_in_body(&self, request: &Request) -> Option<String> {
        let dialect = self.endpoint.dialect?;
        if request.body.is_empty() || dialect == Dialect::Vet {
            return None;
        }
        let named: Named = serde_json::from_slice(&request.body).ok()?;
        let device = match dialect {
            Dialect::Wellpulse | Dialect::Asset | Dialect::Health => named.device_id,
            Dialect::Batch => named.device_info.and_then(|info| info.device_id),
            Dialect::Vet => None,
        };
        device.filter(|name| is_name(name))
    }
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= NAME_SIZE_MAX && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Moment;

    use super::*;
    use crate::request::Method;

    fn named(method: Method, target: &str, body: &str) -> Option<String> {
        let request = Request::new(method, target, Moment::ZERO).with_body(body);
        let route = Route::find(&request).unwrap();
        route.device_in_query(&request).or_else(|| route.device_in_body(&request))
    }

    #[test]
    fn a_request_that_its_contract_refuses_names_its_device_still() {
        let post = |path, body| named(Method::Post, path, body);
        assert_eq!(named(Method::Get, "/sync/pull?deviceId=T1", "").as_deref(), Some("T1"));
        let push = r#"{"deviceId":"T1","entries":7}"#;
        assert_eq!(post("/sync/push", push).as_deref(), Some("T1"));
        let events = r#"{"events":{},"device_info":{"device_id":"T2"}}"#;
        assert_eq!(post("/field-data/sync", events).as_deref(), Some("T2"));
        assert_eq!(post("/api/v1/sync/queue", r#"{"deviceId":"T3"}"#).as_deref(), Some("T3"));
        assert_eq!(post("/api/sync/delta", r#"{"deviceId":"T4"}"#).as_deref(), Some("T4"));
        for body in ["", "[]", r#"{"deviceId":" "}"#, r#"{"deviceId":7}"#, r#"{"deviceId":"T1""#] {
            assert_eq!(post("/sync/push", body), None, "{body}");
        }
        // A dialect that reads no device there is not made to.
        assert_eq!(named(Method::Get, "/api/sync/pull?deviceId=T1", ""), None);
        assert_eq!(post("/api/sync/push", push), None);
    }
}
