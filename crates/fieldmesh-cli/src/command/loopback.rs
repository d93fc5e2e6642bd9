//! HTTP for the apps on this device, beside the daemon.

use std::path::Path;

use fieldmesh::Node;
use fieldmesh::api::Problem;
use fieldmesh_loopback::{Access, Loopback, Options};
use tokio_util::sync::CancellationToken;

use crate::args::{Http, LoopbackArgs};
use crate::problem;
use crate::terminal::Terminal;

/// Takes the port, unless it is off. What nobody has asked for keeps no daemon from running.
pub(super) async fn bind(
    folder: &Path,
    args: &LoopbackArgs,
    terminal: &Terminal,
) -> Result<Option<Loopback>, Problem> {
    let (origins, apps) = (args.http_origin.clone(), args.http_apps);
    let options = Options { origins, apps, ..Options::default() };
    let (options, is_asked) = match args.http {
        Some(Http::Off) if args.http_apps => {
            let detail = "apps would find nothing: leave out `--http off` or `--http-apps`";
            return Err(problem::usage(detail));
        }
        Some(Http::Off) => {
            Access::forget(folder);
            return Ok(None);
        }
        Some(Http::At(address)) => (Options { address, any_port: false, ..options }, true),
        None => (options, args.http_apps || !args.http_origin.is_empty()),
    };
    match Loopback::bind(folder, options).await {
        Ok(bound) => Ok(Some(bound)),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            let detail = format!("apps on this device cannot ask over HTTP: {error}{cause}");
            if is_asked {
                return Err(problem::failed(detail));
            }
            terminal.complain(&detail);
            Ok(None)
        }
    }
}

/// Serves, if there is anything to serve, until `stop`.
pub(super) async fn serve(bound: Option<Loopback>, node: Node, stop: CancellationToken) {
    if let Some(bound) = bound {
        bound.serve(node, stop).await;
    }
}
