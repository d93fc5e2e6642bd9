//! The memory of a node that does nothing, in a process of its own.

use std::env;
use std::error::Error;
use std::fs;
use std::process::Command;
use std::time::Duration;

use fieldmesh::Node;
use fieldmesh::api::ListQuery;

use super::crew::homes::Crew;
use super::crew::table;

/// Says that this process is to be the idle node, and in which home.
const HOME: &str = "FIELDMESH_COMPARE_HOME";
const KEY: &str = "FIELDMESH_COMPARE_KEY";
const ROLE: &str = "FIELDMESH_COMPARE_ROLE";
/// What a node begins at its start has come to rest.
const REST: Duration = Duration::from_secs(8);

/// What the idle node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Device,
    /// It opens no documents.
    Relay,
}

/// The bytes that a node of the crew's home takes. The crew's own is shut down.
pub(crate) fn measure(crew: &Crew, role: Role) -> Result<u64, Box<dyn Error>> {
    let mut child = Command::new(env::current_exe()?);
    child.arg("--bench").env(HOME, crew.home("lead")).env(KEY, crew.home("lead.key"));
    child.env(ROLE, format!("{role:?}"));
    let output = child.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Whether this process is the idle node; then it has been one.
pub(crate) async fn is_idle_node() -> Result<bool, Box<dyn Error>> {
    let (Some(home), Some(key)) = (env::var_os(HOME), env::var_os(KEY)) else { return Ok(false) };
    let is_relay = env::var(ROLE)? == format!("{:?}", Role::Relay);
    let builder = Node::builder(home).key_file(key);
    let node = if is_relay { builder.forward_only() } else { builder }.open().await?;
    if !is_relay {
        let collection = "field_entry".into();
        node.list(ListQuery { collection, limit: Some(1), ..ListQuery::default() }).await?;
    }
    tokio::time::sleep(REST).await;
    table::note(&anonymous_bytes()?.to_string())?;
    node.shutdown().await?;
    Ok(true)
}

/// The memory that is this process's own, also where the system has moved it to a slower place.
fn anonymous_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mut bytes = 0;
    for name in ["RssAnon:", "VmSwap:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.ok_or("the system does not tell")?.trim().trim_end_matches(" kB");
        bytes += kibibytes.parse::<u64>()? * 1024;
    }
    Ok(bytes)
}
