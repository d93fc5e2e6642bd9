//! `log`: which lines a running relay writes.

use super::Context;
use crate::client::Client;
use crate::exit::Failure;
use crate::problem;

/// `log`
pub(super) async fn log(context: &Context<'_>, filter: Option<&str>) -> Result<(), Failure> {
    let data = &context.settings.data;
    let Some(socket) = fieldmesh_shell::socket::find(crate::PROGRAM, data).await else {
        let place = data.display();
        let why = format!("no relay runs on {place}; one that starts takes the filter from --log");
        return Err(problem::not_found(why).into());
    };
    let client = Client::new(socket);
    let shown = match filter {
        Some(filter) => client.set_log(filter).await?,
        None => client.log().await?,
    };
    context.terminal.value(&shown, |shown| format!("{}\n", shown.filter))
}
