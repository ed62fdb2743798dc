//! Connections: how many there may be, and how long one may be silent.

use std::{future::Future, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};

/// How long the head of a request may take, or the next request of a connection.
const SILENCE: Duration = Duration::from_secs(75);
/// How long to wait when the system gives no connection, as when there are no file descriptors left.
const REFUSED: Duration = Duration::from_millis(100);

/// Answer what comes by `app`, over `most` connections at once, until `ends`; then let those end that are answered.
pub async fn serve(listener: TcpListener, app: Router, most: usize, ends: impl Future<Output = ()>) {
    let (places, open) = (Arc::new(Semaphore::new(most)), GracefulShutdown::new());
    let mut ends = std::pin::pin!(ends);
    loop {
        // The system keeps those that come meanwhile in a queue of its own.
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut ends => break,
        };
        let Ok((stream, _)) = stream else {
            tokio::time::sleep(REFUSED).await;
            continue;
        };
        // Tokens are sent as they come.
        drop(stream.set_nodelay(true));
        let service = TowerToHyperService::new(app.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(SILENCE);
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that goes away is no error of the server.
            drop(connection.await);
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}
