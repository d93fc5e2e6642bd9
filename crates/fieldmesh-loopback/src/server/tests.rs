//! Goal: nobody gets in who may not, nothing is overwritten unseen, and the document says what is
//! answered. Method: the whole router over a node with a real store, without a port.

mod apps;
mod contract;
mod documented;
mod strangers;

use axum::body::Body;
use axum::http::{Request, Response};
use fieldmesh::api::NewRecord;
use fieldmesh::{Node, TenantOptions};
use http_body_util::BodyExt as _;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::*;

/// What failures are said in.
const PROBLEM: &str = "application/problem+json";

/// A device with a server.
struct Scene {
    _folder: tempfile::TempDir,
    node: Node,
    router: Router,
    token: String,
    apps_token: String,
    port: u16,
}

/// An answer, read to its end.
struct Answered {
    status: u16,
    headers: axum::http::HeaderMap,
    json: Json,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let crew = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
        let builder = Node::builder(&home).passphrase("one");
        let (node, _) = builder.create_tenant(crew).await.unwrap();
        Self::over(folder, node, &home).await
    }

    /// Over a node whose home lies in `folder`.
    async fn over(folder: tempfile::TempDir, node: Node, home: &Path) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let origins = vec!["http://localhost:5173".to_owned()];
        let options = Options { address, any_port: false, origins, apps: true };
        let bound = Loopback::bind(home, options).await.unwrap();
        let settings = settings(&bound.origins);
        let router = bound.router(node.clone(), &settings, CancellationToken::new());
        let Access { token, apps_token, .. } = bound.access.clone();
        let (apps_token, port) = (apps_token.unwrap(), bound.address.port());
        Self { _folder: folder, node, router, token, apps_token, port }
    }

    /// A request as an app on the device sends it.
    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let is_own = path.starts_with("/v1");
        let token = if is_own { &self.token } else { &self.apps_token };
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("127.0.0.1:{}", self.port))
            .header("authorization", format!("Bearer {token}"))
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn answer(&self, request: Request<Body>) -> Answered {
        let (parts, body) = self.send(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
        Answered { status: parts.status.as_u16(), headers: parts.headers, json }
    }

    async fn get(&self, path: &str) -> Answered {
        self.answer(self.request("GET", path).body(Body::empty()).unwrap()).await
    }

    async fn sent(&self, method: &str, path: &str, body: &Json) -> Answered {
        self.sent_if(method, path, body, None).await
    }

    async fn sent_if(&self, method: &str, path: &str, body: &Json, tag: Option<&str>) -> Answered {
        let mut request = self.request(method, path).header("content-type", "application/json");
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        self.answer(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Makes a well; gives it.
    async fn well(&self, number: usize) -> Json {
        let (name, api) = (format!("Alder {number}"), format!("42-227-{number:05}"));
        let fields = json!({ "name": name, "apiNumber": api, "status": "ACTIVE" });
        let body = json!({ "collection": "well", "fields": fields });
        let made = self.sent("POST", "/v1/records", &body).await;
        assert_eq!(made.status, 201, "{}", made.json);
        made.json
    }
}

/// What records `fields` in a collection.
fn new_record(collection: &str, fields: &Json) -> NewRecord {
    let fields = fields.as_object().unwrap().clone();
    NewRecord { collection: collection.into(), fields, ..NewRecord::default() }
}

impl Answered {
    fn tag(&self) -> &str {
        self.headers["etag"].to_str().unwrap()
    }

    /// The fields that are said to be wrong.
    fn faults(&self) -> Vec<&str> {
        let faults = self.json["faults"].as_array().map_or(&[][..], Vec::as_slice);
        faults.iter().map(|fault| fault["field"].as_str().unwrap()).collect()
    }
}
