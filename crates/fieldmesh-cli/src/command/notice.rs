//! `notices`

use fieldmesh::api::SeenNotices;

use super::Context;
use crate::args::NoticesArgs;
use crate::exit::Failure;
use crate::render;

/// The word that stands for all notices.
const ALL: &str = "all";

/// `notices`
pub(super) async fn notices(context: &Context<'_>, args: &NoticesArgs) -> Result<(), Failure> {
    if args.seen.is_empty() {
        return context
            .with_home(async |home| {
                let notices = home.notices(args.all).await?;
                if notices.is_empty() {
                    context.terminal.say("No notices.");
                }
                context.terminal.list(&notices, render::notices)
            })
            .await;
    }
    let is_all = args.seen.iter().any(|id| id.eq_ignore_ascii_case(ALL));
    let seen = SeenNotices { ids: (!is_all).then(|| args.seen.clone()) };
    context
        .with_home(async |home| {
            let notices = home.see_notices(seen).await?;
            if context.terminal.json() {
                return context.terminal.list(&notices, render::notices);
            }
            let count = render::counted(notices.len() as u64, "notice", "notices");
            context.terminal.say(&format!("Marked {count} as seen on this device."));
            Ok(())
        })
        .await
}
