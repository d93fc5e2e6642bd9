//! The people of a tenant as apps are given them: those who may log in at this relay.

use std::sync::Arc;

use fieldmesh_dialect::command::Pull;
use fieldmesh_dialect::outcome::{Happened, Item, Page, Record};
use fieldmesh_dialect::{Caller, Command, Dialect, Name, Outcome, Refusal};
use fieldmesh_model::{Fields, Moment, Role, TenantId, Value};

use crate::accounts::{self, Accounts, UserReport};

/// The collection as which people are given out.
const USER: &str = "user";

/// Whether an answer is to have the people of the tenant: where the app of the field asks for them.
pub(super) fn is_wanted(caller: &Caller, dialect: Option<Dialect>, command: &Command) -> bool {
    let Command::Pull(Pull { wanted, .. }) = command else { return false };
    dialect == Some(Dialect::Wellpulse)
        && caller.role != Role::Client
        && wanted.iter().any(|wanted| wanted.collection == USER)
}

/// Adds the people to the last page of a pull. They have no place in the feed, so each of them is
/// told each time; who may log in no more is removed.
pub(super) async fn add(outcome: Outcome, accounts: Arc<Accounts>, tenant: TenantId) -> Outcome {
    let mut page = match outcome {
        Outcome::Page(page) if !page.more => page,
        other => return other,
    };
    let at = accounts::now();
    let read = tokio::task::spawn_blocking(move || Ok(accounts.of(tenant)?.list(at)));
    let people: Vec<UserReport> = match read.await {
        Ok(Ok(people)) => people,
        Ok(Err::<_, fieldmesh::api::Problem>(problem)) => {
            tracing::error!(tenant = tenant.short(), reason = problem.detail, "no accounts");
            return Outcome::Refused(Refusal::Failed);
        }
        Err(_) => return Outcome::Refused(Refusal::Failed),
    };
    let items: Vec<Arc<Item>> =
        people.iter().map(|person| Arc::new(item(person, &page, at))).collect();
    page.items.extend(items);
    Outcome::Page(page)
}

fn item(person: &UserReport, page: &Page, at: Moment) -> Item {
    let text = |key: &str, text: &str| (key.to_owned(), Value::Text(text.to_owned()));
    let role = person.role.as_str().to_uppercase();
    let fields = [text("email", &person.email), text("name", &person.name), text("role", &role)];
    let record = Record {
        name: Name::Text(person.id.to_string()),
        collection: USER.to_owned(),
        fields: Fields::from(fields),
        version: 1,
        deleted: !person.active,
        arrived_at: at,
        changed_at: None,
        changed_by: None,
        created_at: Some(person.created_at),
        created_by: None,
    };
    let happened = if person.active { Happened::Updated } else { Happened::Removed };
    Item::new(happened, page.place, record)
}
