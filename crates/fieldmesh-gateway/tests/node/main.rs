//! What apps are promised across restarts and devices: each test is named after what somebody would
//! have lost. Real nodes over real disks, and real sockets where there are two.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up its scene has failed")]

mod alike;
mod apart;
mod authors;
mod bases;
mod contracts;
mod crowd;
mod deleted;
mod disputes;
mod entity;
mod entries;
mod figures;
mod fleet;
mod halfway;
mod history;
mod kept;
mod late;
mod live;
mod names;
mod pages;
mod photos;
mod queue;
mod rejected;
mod restart;
mod rights;
mod stats;
mod tablets;
mod together;
mod told;
mod vets;

use std::collections::BTreeSet;
use std::path::Path;

use fieldmesh::{Node, TenantOptions};
use fieldmesh_dialect::{Caller, Dialects, Method, Request, understand};
use fieldmesh_gateway::Gateway;
use fieldmesh_model::{Moment, Role};
use serde_json::{Value as Json, json};

/// A tenant's gateway and the home behind it.
struct Office {
    node: Node,
    gateway: Gateway,
}

impl Office {
    async fn create(home: &Path) -> Self {
        let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
        let (node, _) = Node::builder(home).create_tenant(options).await.unwrap();
        Self::over(node).await
    }

    async fn open(home: &Path) -> Self {
        Self::over(Node::builder(home).open().await.unwrap()).await
    }

    async fn over(node: Node) -> Self {
        let gateway = Gateway::open(node.clone()).await.unwrap();
        Self { node, gateway }
    }

    async fn close(self) {
        drop(self.gateway);
        self.node.shutdown().await.unwrap();
    }

    fn caller(&self, role: Role) -> Caller {
        Caller {
            tenant: "acme".to_owned(),
            tenant_aliases: BTreeSet::new(),
            user: "ann".to_owned(),
            aliases: BTreeSet::new(),
            role,
            practices: [1].into(),
            device: None,
            dialects: Dialects::all(),
            feed: self.gateway.feed(),
        }
    }

    /// Somebody who works with records, no more.
    fn worker(&self, user: &str) -> Caller {
        Caller { user: user.to_owned(), ..self.caller(Role::Operator) }
    }

    /// The body of an answer that is no error.
    async fn ask(&self, method: Method, target: &str, body: &Json) -> Json {
        let (status, body) = self.ask_as(&self.caller(Role::Admin), method, target, body).await;
        assert!((200..300).contains(&status), "{target}: {status} {body}");
        body
    }

    /// What `caller` is answered.
    async fn ask_as(
        &self,
        caller: &Caller,
        method: Method,
        target: &str,
        body: &Json,
    ) -> (u16, Json) {
        let mut request = Request::new(method, target, now());
        if !body.is_null() {
            request = request.with_body(body.to_string());
        }
        let ask = match understand(&request, Some(caller)) {
            Ok(ask) => ask,
            Err(response) => return (response.status, Json::Null),
        };
        let command = ask.command.clone();
        let outcome = self.gateway.execute(caller, ask.dialect, command, now()).await;
        let response = ask.answer(outcome);
        (response.status, serde_json::from_slice(&response.body).unwrap_or(Json::Null))
    }

    async fn post(&self, target: &str, body: &Json) -> Json {
        self.ask(Method::Post, target, body).await
    }

    async fn get(&self, target: &str) -> Json {
        self.ask(Method::Get, target, &Json::Null).await
    }
}

/// A well as people on devices record it.
async fn well(node: &Node, number: u32) -> String {
    let new = fieldmesh::api::NewRecord {
        collection: "well".into(),
        assignments: vec![
            format!("name=Alder {number}"),
            format!("apiNumber=42-227-{number:05}"),
            "status=ACTIVE".into(),
            "latitude=31.9".into(),
            "longitude=-102.1".into(),
        ],
        ..fieldmesh::api::NewRecord::default()
    };
    node.record(new).await.unwrap().id.to_string()
}

fn entry(well: &str, minute: usize, oil: f64) -> Json {
    let recorded_at = Moment::from_millis(1_761_300_000_000).plus_millis(minute as i64 * 60_000);
    json!({
        "wellId": well, "entryType": "PRODUCTION", "recordedAt": recorded_at,
        "data": { "oilVolume": oil, "gasVolume": 375.8, "runtime": 24 },
    })
}

fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Moment::from_millis(i64::try_from(since.as_millis()).unwrap())
}
