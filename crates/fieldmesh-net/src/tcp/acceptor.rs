//! Whoever connects over TCP, up to the end of the handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::driver::Drivers;
use super::handshake;
use crate::closed::ClosedReason;
use crate::doorway::Doorway;
use crate::endpoint::{self, HANDSHAKE_TIMEOUT, Incoming, Introduction};
use crate::identity::Identities;
use crate::wire::Wire;

/// How long nobody is let in after the system had no room for one more.
const PAUSE: Duration = Duration::from_millis(200);

/// How long whoever has connected may say nothing at all.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(3);

/// Shakes hands with everybody who connects, many at a time, until the endpoint closes.
pub(crate) async fn accept_all(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    identities: Arc<Identities>,
    drivers: Arc<Drivers>,
    accepted: mpsc::Sender<Incoming>,
) {
    let doorway = Arc::new(Doorway::default());
    let mut handshakes = JoinSet::new();
    loop {
        let connected = tokio::select! {
            connected = listener.accept() => connected,
            () = drivers.over() => return,
        };
        let (socket, from) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        while handshakes.try_join_next().is_some() {}
        let mut place = doorway.enter(from.ip());
        let (config, identities) = (Arc::clone(&config), Arc::clone(&identities));
        let (drivers, accepted) = (Arc::clone(&drivers), accepted.clone());
        handshakes.spawn(async move {
            let shaken = shake_hands(socket, from, config, &identities, &drivers);
            let let_in = async {
                match timeout(HANDSHAKE_TIMEOUT, shaken).await {
                    Ok(Ok(newcomer)) => {
                        // Nobody accepts any more when the endpoint is gone.
                        let _ = accepted.send(newcomer).await;
                    }
                    Ok(Err(reason)) => debug!(%from, %reason, "handshake over TCP refused"),
                    Err(_) => debug!(%from, "handshake over TCP timed out"),
                }
            };
            // Dropping the socket ends the connection.
            tokio::select! {
                () = let_in => {}
                () = place.is_taken() => debug!(%from, "a handshake made room for another"),
            }
        });
    }
}

/// Lets others go first when the system has no room, as for open files.
async fn pause_after(error: &io::Error) {
    let is_theirs =
        matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !is_theirs {
        warn!(%error, "nobody can be let in over TCP at the moment");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn shake_hands(
    socket: TcpStream,
    from: SocketAddr,
    config: Arc<rustls::ServerConfig>,
    identities: &Identities,
    drivers: &Arc<Drivers>,
) -> Result<Incoming, ClosedReason> {
    let begun = timeout(HELLO_TIMEOUT, socket.peek(&mut [0])).await;
    begun.map_err(|_| ClosedReason::TimedOut)?.map_err(|error| ClosedReason::of_io(&error))?;
    let shaken = handshake::accept(socket, from, config, drivers).await?;
    let introduction = Introduction { server_name: shaken.server_name, protocol: shaken.protocol };
    endpoint::judge(&Wire::Tcp(shaken.connection), &introduction, identities)
}
