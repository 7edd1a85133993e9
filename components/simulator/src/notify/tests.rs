use super::*;

/// Nobody listens there.
const NOWHERE: &str = "https://127.0.0.1:1/told";

fn notifier() -> Notifier {
    payplane_common::tls::install_provider();
    Notifier::new(None, &mut Registry::default(), None).unwrap()
}

fn mail(steps: Vec<Vec<Notice>>) -> Mail {
    Mail {
        network: NetworkName::WechatPay,
        url: NOWHERE.to_owned(),
        notices: Notices { delay: Duration::ZERO, steps },
        accepted: |status, _| status == 200,
        render: Box::new(|_| Some(Message { headers: Vec::new(), body: String::new() })),
    }
}

fn counted(notifier: &Notifier, result: &'static str) -> u64 {
    notifier.0.results.get_or_create(&Labels { network: "wechat_pay", result }).get()
}

#[test]
fn tries_come_at_growing_intervals() {
    let waits: Vec<u64> = (0..TRIES_MAX).map(|attempt| wait_before(attempt).as_secs()).collect();
    assert_eq!(waits, [0, 1, 2, 4, 8, 15, 15, 15, 15, 15]);
}

#[tokio::test]
async fn a_lie_is_told_once() {
    let notifier = notifier();
    notifier.0.deliver(mail(vec![vec![Notice::Forged], vec![Notice::OtherAmount]])).await;
    assert_eq!((counted(&notifier, "refused"), counted(&notifier, "given_up")), (2, 0));
}

#[tokio::test]
async fn what_does_not_fit_is_dropped_and_counted() {
    let notifier = notifier();
    let all = u32::try_from(WAITING_MAX).unwrap();
    let places = notifier.0.places.clone().try_acquire_many_owned(all).unwrap();
    notifier.send(mail(vec![vec![Notice::Right]]));
    assert_eq!(counted(&notifier, "dropped"), 1);
    drop(places);
    notifier.send(mail(Vec::new()));
    assert_eq!(notifier.0.places.available_permits(), WAITING_MAX, "there was nothing to tell");
}
