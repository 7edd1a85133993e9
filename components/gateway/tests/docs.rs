//! The tables in docs/gateway.md and docs/openapi.json are those in the code. UPDATE=1 rewrites them.

use payplane_gateway::state::agreement::AgreementState;
use payplane_gateway::state::decision::{ContradictionState, DecisionState};
use payplane_gateway::state::registry::RegistryState;
use payplane_gateway::state::step_up::StepUpState;
use payplane_gateway::state::{
    AttemptState, DeliveryState, OrderState, OutgoingState, SurplusState, Transition,
};

const BEGIN: &str = "<!-- states -->\n";
const END: &str = "<!-- /states -->\n";

fn table<S: std::fmt::Display + Copy>(what: &str, transitions: &[Transition<S>]) -> String {
    let mut text = format!("| {what} from | to | because |\n|---|---|---|\n");
    for Transition { from, to, cause } in transitions {
        text.push_str(&format!("| {from} | {to} | {cause} |\n"));
    }
    text + "\n"
}

#[test]
fn the_documented_states_are_those_of_the_code() {
    let path = "../../docs/gateway.md";
    let text = std::fs::read_to_string(path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let tables = [
        table("order", OrderState::transitions()),
        table("attempt", AttemptState::transitions()),
        table("refund or payout", OutgoingState::transitions()),
        table("surplus", SurplusState::transitions()),
        table("agreement", AgreementState::transitions()),
        table("step-up", StepUpState::transitions()),
        table("decision", DecisionState::transitions()),
        table("contradiction", ContradictionState::transitions()),
        table("notification", DeliveryState::transitions()),
        table("merchant, app or terminal", RegistryState::transitions()),
    ];
    let current = format!("{head}{BEGIN}{}{END}{tail}", tables.concat());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    assert!(current == text || std::env::var_os("UPDATE").is_some(), "run with UPDATE=1");
}

#[test]
fn the_openapi_document_is_the_one_in_the_code() {
    let path = "../../docs/openapi.json";
    let document = payplane_gateway::api::openapi::document(&["CNY".to_owned()]);
    let current = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap_or_default() == current, "run with UPDATE=1");
}
