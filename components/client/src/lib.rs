//! A merchant's side: signed requests, receipts, registration with the admin
//! certificate, and an open-loop load with an fsynced record. It shares no
//! signing or message code with the gateway.

pub mod admin;
mod agreement;
mod burst;
pub mod call;
pub mod files;
pub mod key;
pub mod load;
pub mod message;
mod network;
pub mod notification;
mod order;
mod payout;
pub mod print;
mod probe;
mod risk;
pub mod sign;
pub mod sorted;

use clap::{Args as ClapArgs, Subcommand};
use snafu::{ResultExt, Snafu};

/// How it is started.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an app's signing key (ECDSA P-256); an existing one is kept
    Keygen(key::KeygenArgs),
    /// Apply for a merchant, or change what describes it (admin certificate)
    RegisterMerchant(admin::MerchantArgs),
    /// Register an app and its public key (admin certificate)
    RegisterApp(admin::AppArgs),
    /// Approve, suspend, resume or close a merchant, an app or a terminal (admin certificate)
    Registry(admin::RegistryArgs),
    /// Add to a list of whom no payment is taken from, or remove from it (admin certificate)
    #[command(subcommand)]
    RiskList(risk::ListCommand),
    /// Print the trial balance (admin certificate)
    TrialBalance(admin::TrialBalanceArgs),
    /// Pay, and print the receipt
    Pay(order::PayArgs),
    /// Ask what became of a payment
    Query(order::QueryArgs),
    /// Ask that an order be paid no more, and print what became of it
    Close(order::CloseArgs),
    /// Refund a payment, whole or in part
    Refund(order::RefundArgs),
    /// Pay out of what a merchant has to an account
    Payout(payout::PayoutArgs),
    /// Ask what became of a payout
    QueryPayout(payout::QueryArgs),
    /// Ask a bank for an account owner's agreement to be debited
    Sign(agreement::SignArgs),
    /// Send one payment many times at once, over many connections
    Burst(burst::BurstArgs),
    /// Put load on gateways, and keep a record of it
    Load(load::LoadArgs),
    /// Say whether a TCP connection opens: open, refused or timeout
    Dial(network::DialArgs),
    /// Say whether a TLS server takes a certificate: accepted, or its alert
    Handshake(probe::HandshakeArgs),
    /// Say whether a database takes a certificate for a role: logged in, SQLSTATE or alert
    Login(probe::LoginArgs),
    /// Write standard input to a file, where no shell can
    Store(files::StoreArgs),
    /// Wait until told to stop, so that others can exec into the pod
    Idle,
}

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("keygen failed"))]
    Keygen { source: key::KeyError },
    #[snafu(display("the admin call failed"))]
    Admin { source: admin::AdminError },
    #[snafu(display("the call failed"))]
    Order { source: order::OrderError },
    #[snafu(display("the load failed"))]
    Load { source: load::LoadError },
    #[snafu(display("the file cannot be stored"))]
    Store { source: std::io::Error },
    #[snafu(display("cannot wait for signals"))]
    Idle { source: std::io::Error },
}

/// Runs one command.
pub async fn run(args: Args) -> Result<(), Error> {
    // Another component in the same process may have done it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match args.command {
        Command::Keygen(args) => key::keygen(&args).context(KeygenSnafu),
        Command::RegisterMerchant(args) => admin::register_merchant(args).await.context(AdminSnafu),
        Command::RegisterApp(args) => admin::register_app(args).await.context(AdminSnafu),
        Command::Registry(args) => admin::change(args).await.context(AdminSnafu),
        Command::RiskList(command) => risk::run(command).await.context(AdminSnafu),
        Command::TrialBalance(args) => admin::trial_balance(args).await.context(AdminSnafu),
        Command::Pay(args) => order::pay(args).await.context(OrderSnafu),
        Command::Query(args) => order::query(args).await.context(OrderSnafu),
        Command::Close(args) => order::close(args).await.context(OrderSnafu),
        Command::Refund(args) => order::refund(args).await.context(OrderSnafu),
        Command::Payout(args) => payout::pay_out(args).await.context(OrderSnafu),
        Command::QueryPayout(args) => payout::query(args).await.context(OrderSnafu),
        Command::Sign(args) => agreement::sign(args).await.context(OrderSnafu),
        Command::Burst(args) => burst::run(args).await.context(OrderSnafu),
        Command::Load(args) => load::run(args).await.context(LoadSnafu),
        Command::Dial(args) => {
            print::line(&network::dial(&args).await);
            Ok(())
        }
        Command::Handshake(args) => {
            print::line(&probe::handshake(&args).await);
            Ok(())
        }
        Command::Login(args) => {
            print::line(&probe::login(&args).await);
            Ok(())
        }
        Command::Store(args) => files::store(&args).context(StoreSnafu),
        Command::Idle => network::idle().await.context(IdleSnafu),
    }
}
