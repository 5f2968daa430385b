//! From where a request comes: the address of the connection, or that of the client for whom a proxy
//! speaks that is believed (`weir up --trusted-proxies`). It is settled once, before anything else looks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{Extensions, HeaderMap, HeaderName, StatusCode, header};
use weir_model::proxy::{self, Told};

use super::error::ApiError;
use crate::config::Config;
use crate::context::Context;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a request came from.
pub(super) fn of(extensions: &Extensions) -> IpAddr {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip())
}

/// Puts the client in the place of a proxy that is believed.
pub(crate) async fn settle(State(context): State<Context>, mut request: Request, next: Next) -> Response {
    let peer = of(request.extensions());
    match client_of(&context.config, request.headers(), peer) {
        Ok(client) if client == peer => {}
        Ok(client) => {
            // The port is the proxy's, and says nothing.
            let info = ConnectInfo(SocketAddr::new(client, 0));
            request.extensions_mut().insert(info);
        }
        Err(error) => return error.into_response(),
    }
    next.run(request).await
}

fn client_of(config: &Config, headers: &HeaderMap, peer: IpAddr) -> Result<IpAddr, ApiError> {
    let is_proxy = |address| config.trusted_proxies.iter().any(|network| network.contains(address));
    if !is_proxy(peer) {
        return Ok(peer);
    }
    let told = Told {
        x_forwarded_for: lines(headers, X_FORWARDED_FOR),
        forwarded: lines(headers, header::FORWARDED),
    };
    proxy::client(&told, config.proxy_header, is_proxy, peer).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, "ambiguous-client", error.to_string()).with_hint(
            "whoever runs this Weir says with `weir up --proxy-header` which of them the proxy writes, and has it remove the other",
        )
    })
}

fn lines(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    let lines = headers.get_all(name).iter();
    lines.map(|line| line.to_str().unwrap_or(proxy::UNKNOWN)).collect()
}
