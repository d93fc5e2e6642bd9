//! The real executor over a node in a folder of its own.

use std::collections::BTreeSet;

use fieldmesh::api::ListQuery;
use fieldmesh::{Node, TenantOptions};
use fieldmesh_dialect::command::{Action, Base, Identity, Operation, Pull, Push, Wanted};
use fieldmesh_dialect::outcome::Fate;
use fieldmesh_dialect::{Caller, Command, Dialect, Dialects, Name, Outcome, Since};
use fieldmesh_gateway::Gateway;
use fieldmesh_model::{Fields, Moment, Role};
use tokio::runtime::Runtime;

use crate::executor::Executor;

pub(crate) struct Real {
    runtime: Runtime,
    node: Node,
    gateway: Gateway,
    /// What was put there, by collection and name.
    put: BTreeSet<(String, Name)>,
    _folder: tempfile::TempDir,
}

impl Real {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let options = TenantOptions { name: "Gulf Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home"));
        let (node, gateway) = runtime.block_on(async {
            let (node, _) = builder.create_tenant(options).await.unwrap();
            let gateway = Gateway::open(node.clone()).await.unwrap();
            (node, gateway)
        });
        Self { runtime, node, gateway, put: BTreeSet::new(), _folder: folder }
    }

    /// Whoever manages the tenant.
    fn office(&self) -> Caller {
        Caller {
            tenant: "acme".to_owned(),
            tenant_aliases: BTreeSet::new(),
            user: "office".to_owned(),
            aliases: BTreeSet::new(),
            role: Role::Admin,
            practices: BTreeSet::new(),
            device: None,
            dialects: Dialects::all(),
            feed: self.gateway.feed(),
        }
    }

    fn ask(&self, caller: &Caller, dialect: Option<Dialect>, command: Command) -> Outcome {
        self.runtime.block_on(self.gateway.execute(caller, dialect, command, now()))
    }

    fn write(&self, collection: &str, name: &Name, action: Action, fields: &Fields) -> Fate {
        let operation = Operation {
            identity: Identity::Named(name.clone()),
            action,
            collection: collection.to_owned(),
            fields: fields.clone(),
            base: if action == Action::Create { Base::New } else { Base::Current },
            at: now(),
            key: None,
            references: Vec::new(),
        };
        let push = Push { operations: vec![operation], ..Push::default() };
        let outcome = self.ask(&self.office(), None, Command::Push(push));
        let Outcome::Pushed(mut pushed) = outcome else { panic!("{outcome:?}") };
        pushed.fates.remove(0)
    }
}

impl Executor for Real {
    fn execute(&mut self, caller: &Caller, dialect: Option<Dialect>, command: Command) -> Outcome {
        self.ask(caller, dialect, command)
    }

    fn put(&mut self, collection: &str, name: Name, fields: Fields) {
        let is_new = self.put.insert((collection.to_owned(), name.clone()));
        let action = if is_new { Action::Create } else { Action::Update };
        let fate = self.write(collection, &name, action, &fields);
        assert!(matches!(fate, Fate::Stored(_)), "{fate:?}");
    }

    fn count(&self, collection: &str) -> usize {
        let query = ListQuery { collection: collection.to_owned(), ..ListQuery::default() };
        let listed = |deleted| {
            let query = ListQuery { deleted, ..query.clone() };
            self.runtime.block_on(self.node.list(query)).unwrap().len()
        };
        listed(false) + listed(true)
    }

    fn fields(&self, collection: &str, name: &str) -> Fields {
        let wanted =
            Wanted { collection: collection.to_owned(), records_max: None, conditions: Vec::new() };
        let pull = Pull {
            device: None,
            since: Since::Start,
            wanted: vec![wanted],
            practice: None,
            records_max: None,
            each_max: None,
            by_time: false,
            is_whole: false,
        };
        let outcome = self.ask(&self.office(), None, Command::Pull(pull));
        let Outcome::Page(page) = outcome else { panic!("{outcome:?}") };
        let mut items = page.items.iter();
        items.find(|item| item.record.name.to_string() == name).unwrap().record.fields.clone()
    }

    fn set_pace(&mut self, _millis: i64) {
        // Arrivals have milliseconds of their own here.
    }
}

fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Moment::from_millis(i64::try_from(since.as_millis()).unwrap())
}
