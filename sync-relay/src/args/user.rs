//! What can be typed about people who log in.

use clap::{Args, Subcommand};
use fieldmesh_model::Role;

/// What can be done with people who log in.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Let a person log in to the apps of a tenant.
    Add(AddArgs),
    /// Log a person out everywhere, at once, and let nobody log in as that person.
    Disable(PersonArgs),
    /// Let a person log in again who was disabled.
    Enable(PersonArgs),
    /// Give a person another password, and log the person out everywhere.
    Passwd(PasswordArgs),
    /// List the people of a tenant.
    List(TenantArgs),
    /// Make a new key for access tokens: every app has to renew its session at once.
    RotateKey(TenantArgs),
}

/// A tenant.
#[derive(Debug, Args)]
pub(crate) struct TenantArgs {
    /// The tenant: its slug, its name, its id or the end of that.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: String,
}

/// A person of a tenant.
#[derive(Debug, Args)]
pub(crate) struct PersonArgs {
    #[command(flatten)]
    pub(crate) of: TenantArgs,
    /// The e-mail address.
    pub(crate) email: String,
}

/// `user add …`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sync-relay user add --tenant permian-west ana@example.org --role manager --name \"Ana Ruiz\"
  pass show relay/ana | sync-relay user add --tenant permian-west ana@example.org --password-stdin

A person with devices gets the id that their certificates carry; devices that are invited later
with `invite --user` get the id of the account.")]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) person: PersonArgs,
    /// What the person may do.
    #[arg(long, default_value = "operator", value_name = "ROLE")]
    pub(crate) role: Role,
    /// The name [default: the address].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A practice that the person belongs to; may be given again.
    #[arg(long = "practice", value_name = "NUMBER")]
    pub(crate) practices: Vec<i64>,
    /// An id that an app knows the person by; may be given again.
    #[arg(long = "alias", value_name = "ID")]
    pub(crate) aliases: Vec<String>,
    /// Read the password from the first line of standard input instead of asking for it.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// `user passwd …`
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    #[command(flatten)]
    pub(crate) person: PersonArgs,
    /// Read the password from the first line of standard input instead of asking for it.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}
