//! How connections behave, to the Hub and to whoever else is asked over HTTP.

use std::time::Duration;

use ureq::{Agent, config::ConfigBuilder, tls::TlsConfig, typestate::AgentScope};

/// A connection on which no byte moves for so long counts as cut.
pub const IDLE: Duration = Duration::from_secs(30);

/// Of an agent that trusts whom `tls` says: who asks reads the statuses and the redirects, of which none is followed.
pub fn config(tls: TlsConfig) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("setaccio/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .timeout_connect(Some(IDLE))
        .timeout_recv_response(Some(IDLE * 4))
        .timeout_per_read(Some(IDLE))
        .timeout_per_write(Some(IDLE))
        .input_buffer_size(256 << 10)
}
