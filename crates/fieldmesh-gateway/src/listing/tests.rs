//! What a part of the list costs, in rows that are looked at: whoever has few conflicts among those
//! of a whole tenant is answered in parts that are no larger for it.

use std::collections::BTreeSet;

use fieldmesh::{Node, TenantOptions};
use fieldmesh_dialect::command::ConflictQuery;
use fieldmesh_dialect::{Caller, Dialect, Dialects, Method, Request, understand};
use fieldmesh_model::{Moment, Role};
use serde_json::{Value as Json, json};

use super::{Part, Whose};
use crate::{Asking, Failure, Gateway};

const AT: Moment = Moment::from_millis(1_761_300_000_000);
/// Conflicts of somebody else, before the one that is looked for and behind it.
const OTHERS: usize = 7;
/// Rows that a part may look at here.
const ROWS: usize = 3;

fn caller(gateway: &Gateway, user: &str) -> Caller {
    Caller {
        tenant: "acme".to_owned(),
        tenant_aliases: BTreeSet::new(),
        user: user.to_owned(),
        aliases: BTreeSet::new(),
        role: Role::Operator,
        practices: BTreeSet::new(),
        device: None,
        dialects: Dialects::all(),
        feed: gateway.feed(),
    }
}

async fn ask(gateway: &Gateway, user: &str, method: Method, target: &str, body: &Json) -> Json {
    let caller = caller(gateway, user);
    let request = Request::new(method, target, AT);
    let request = if body.is_null() { request } else { request.with_body(body.to_string()) };
    let Ok(ask) = understand(&request, Some(&caller)) else { panic!("{target} is understood") };
    let outcome = gateway.execute(&caller, ask.dialect, ask.command.clone(), AT).await;
    serde_json::from_slice(&ask.answer(outcome).body).unwrap()
}

/// Two people write another name into a thing that Carl has named anew meanwhile.
async fn contest(gateway: &Gateway, user: &str, thing: &str) {
    let sent = [("carl", "CREATE", "A"), ("carl", "UPDATE", "B"), (user, "UPDATE", "C")];
    for (user, operation, name) in sent {
        let change = json!({ "entityType": "widget", "entityId": thing, "operation": operation,
            "payload": { "name": name }, "clientVersion": 1, "timestamp": AT });
        let body = json!({ "deviceId": user, "changes": [change] });
        let told = ask(gateway, user, Method::Post, "/api/sync", &body).await;
        let wanted = if name == "C" { "CONFLICT" } else { "COMPLETED" };
        assert_eq!(told["results"][0]["status"], wanted, "{told}");
    }
}

async fn part(gateway: &Gateway, after: Option<u64>, whose: Whose, conflicts_max: usize) -> Part {
    let dialect = Some(Dialect::Asset);
    let asking = Asking { caller: caller(gateway, "ann"), dialect, at: AT };
    let part = gateway.on_thread(&asking, move |task| {
        let query = ConflictQuery { collection: None, after, conflicts_max };
        task.listed(&query, whose, ROWS)
    });
    match part.await {
        Ok(part) => part,
        Err(Failure::Refused(_) | Failure::Broken(_)) => panic!("the list is read"),
    }
}

/// All parts of the list, from its start to its end.
async fn parts(gateway: &Gateway, whose: Whose, conflicts_max: usize) -> Vec<Part> {
    let (mut parts, mut after) = (Vec::new(), None);
    loop {
        let part = part(gateway, after, whose, conflicts_max).await;
        after = part.next;
        parts.push(part);
        if after.is_none() {
            return parts;
        }
    }
}

fn ids(parts: &[Part]) -> BTreeSet<String> {
    parts.iter().flat_map(|part| part.rows.iter().map(|row| row.id.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_one_conflict_among_many_is_told_of_it_in_parts_that_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
    let (node, _) = Node::builder(folder.path().join("home")).create_tenant(options).await.unwrap();
    let gateway = Gateway::open(node.clone()).await.unwrap();
    for number in 0..=2 * OTHERS {
        let user = if number == OTHERS { "ann" } else { "bob" };
        contest(&gateway, user, &format!("thing {number}")).await;
    }
    // Those of the inbox are rows of the list as well: here each conflict stands in one.
    let own = parts(&gateway, Whose::Caller, usize::MAX).await;
    let looked_at: Vec<usize> = own.iter().map(|part| part.looked_at).collect();
    assert!(looked_at.iter().all(|rows| *rows <= ROWS), "{looked_at:?}");
    assert!(looked_at.iter().sum::<usize>() > 2 * OTHERS, "{looked_at:?}");
    assert_eq!(ids(&own).len(), 1);
    // However many are asked for, each of them is in one part.
    for conflicts_max in [1, 2, usize::MAX] {
        let all = parts(&gateway, Whose::Anybody, conflicts_max).await;
        assert!(all.iter().all(|part| part.looked_at <= ROWS && part.rows.len() <= conflicts_max));
        assert_eq!(all.iter().map(|part| part.rows.len()).sum::<usize>(), 2 * OTHERS + 1);
        assert_eq!(ids(&all).len(), 2 * OTHERS + 1);
    }
    for (user, count) in [("ann", 1), ("bob", 2 * OTHERS), ("carl", 0)] {
        let status = ask(&gateway, user, Method::Get, "/api/sync/status", &Json::Null).await;
        assert_eq!(status["unresolvedConflicts"], count, "{status}");
        let stats = ask(&gateway, user, Method::Get, "/api/sync/queue/stats", &Json::Null).await;
        assert_eq!(stats["conflict"], count, "{stats}");
    }
    drop(gateway);
    node.shutdown().await.unwrap();
}
