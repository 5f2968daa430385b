//! Ports of services that speak TCP.

use weir_model::{AppName, TcpServiceName};
use weir_store::{TcpPortRefused, TcpPortWish};

use crate::database::on_each_database;
use crate::fixtures::*;

