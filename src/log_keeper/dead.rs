use super::message::Bad;
use crate::{
    call_log::{
        CallLogError,
        rabbitmq::{Address, DEAD_REASON, Link, RabbitMqSettings, declare},
    },
    model::one_line,
};
use lapin::{
    BasicProperties, Confirmation,
    message::Delivery,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::AMQPValue,
};
use std::time::Duration;
use tokio::time::timeout;

const DOING: &str = "putting a message into the dead-letter queue";
const ANSWERING: Duration = Duration::from_secs(5);
const LONGEST_REASON: usize = 500;

/// Puts what cannot be stored where somebody may look at it.
///
/// It has a connection of its own, made when there is something: the broker may block one that
/// publishes, and the keeper's must go on.
pub(super) struct DeadLetters {
    settings: RabbitMqSettings,
    address: Address,
    link: Option<Link>,
}

impl DeadLetters {
    pub fn new(settings: &RabbitMqSettings, address: &Address) -> Self {
        Self { settings: settings.clone(), address: address.clone(), link: None }
    }

    /// Puts this there with its reason; it is there when this returns.
    pub async fn put(&mut self, from: &Delivery, bad: &Bad<'_>) -> Result<(), CallLogError> {
        let link = match self.link.take() {
            Some(link) if link.is_up() => link,
            _ => self.connect().await?,
        };
        let put = self.put_on(&link, from, bad).await;
        // A blocked connection that is dropped the broker would not notice.
        if put.is_ok() || (link.is_blocked() && link.is_up()) {
            self.link = Some(link);
        }
        put
    }

    async fn put_on(&self, link: &Link, from: &Delivery, bad: &Bad<'_>) -> Result<(), CallLogError> {
        if link.is_blocked() {
            return Err(failed("the broker takes no messages: it is short of memory or disk"));
        }
        if publish(link, &self.settings.dead, from, bad).await? {
            return Ok(());
        }
        // It came back: the queue is gone.
        declare(&link.channel, &self.settings).await?;
        match publish(link, &self.settings.dead, from, bad).await? {
            true => Ok(()),
            false => Err(failed("it came back: there is no such queue")),
        }
    }

    async fn connect(&self) -> Result<Link, CallLogError> {
        let link = Link::open(&self.address, "rowcall log-keeper, dead letters").await?;
        declare(&link.channel, &self.settings).await?;
        answered(link.channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(link)
    }

    pub async fn close(self) {
        if let Some(link) = self.link {
            link.close().await;
        }
    }
}

fn failed(message: impl Into<String>) -> CallLogError {
    CallLogError { doing: DOING, message: message.into(), lasting: false }
}

async fn answered<T>(work: impl Future<Output = lapin::Result<T>>) -> Result<T, CallLogError> {
    match timeout(ANSWERING, work).await {
        Ok(answer) => answer.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {ANSWERING:?}"))),
    }
}

/// `false` if there is no such queue.
async fn publish(link: &Link, queue: &str, from: &Delivery, bad: &Bad<'_>) -> Result<bool, CallLogError> {
    let mut headers = from.properties.headers().clone().unwrap_or_default();
    let reason = one_line(&bad.reason, LONGEST_REASON);
    for (name, text) in [
        (DEAD_REASON, reason.as_str()),
        ("x-rowcall-exchange", from.exchange.as_str()),
        ("x-rowcall-routing-key", from.routing_key.as_str()),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    // Not all of its properties: it would expire there as well, or be refused as another user's.
    let mut properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    if let Some(id) = from.properties.message_id() {
        properties = properties.with_message_id(id.clone());
    }
    if let Some(kind) = from.properties.content_type() {
        properties = properties.with_content_type(kind.clone());
    }
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let publishing = async {
        link.channel.basic_publish("".into(), queue.into(), options, bad.body, properties).await?.await
    };
    match answered(publishing).await? {
        Confirmation::Ack(None) => Ok(true),
        Confirmation::Ack(Some(_)) => Ok(false),
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(failed("the broker could not take it")),
    }
}
