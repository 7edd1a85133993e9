//! The whole stack as processes of the one binary, on loopback, with real TLS,
//! a real PostgreSQL with fsync on, the real ledger and the simulated network:
//! no cluster is needed.

mod accounts;
mod agreement_deaths;
mod agreement_ends;
mod agreement_owner;
mod agreement_stage;
mod agreements;
mod bank;
mod chaos;
mod closing;
mod contradictions;
mod decision_races;
mod decision_stage;
mod decisions;
mod faults;
mod harness;
mod hostile;
mod hostile_admin;
mod hostile_sorted;
mod integrate;
mod limits;
mod lost_answers;
mod networks;
mod notifications;
mod openapi;
mod oracle;
mod payments;
mod payout_deaths;
mod payout_stage;
mod payouts;
mod process;
mod refusals;
mod registry;
mod risk;
mod risk_lists;
mod risk_races;
mod routing;
mod secrets;
mod shut;
mod signing;
mod step_up;
mod surpluses;
mod terminals;
mod traces;
mod transfers;
