use super::{CallLogError, RabbitMqSettings, failed, passing};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use std::time::Duration;
use tokio::time::timeout;

/// The header of a message in the dead-letter queue that says why it is there.
pub const DEAD_REASON: &str = "x-rowcall-reason";

const DECLARING: Duration = Duration::from_secs(3);

/// Declares what records go through; what is there already stays as it is.
///
/// Both queues are quorum queues: what was confirmed is on disk, with several nodes on most of them.
/// What a policy of the broker's takes out of the keeper's queue goes to the dead-letter queue too.
pub async fn declare(channel: &Channel, settings: &RabbitMqSettings) -> Result<(), CallLogError> {
    const DOING: &str = "declaring the call log's exchange and queues";
    let RabbitMqSettings { exchange, queue, dead, .. } = settings;
    for (key, name) in [("exchange", exchange), ("queue", queue), ("dead", dead)] {
        if name.is_empty() || name.len() > 255 {
            let message = format!("`{key}` has {} bytes: a name has 1 to 255", name.len());
            return Err(CallLogError { doing: DOING, message, lasting: true });
        }
    }
    let declaring = async {
        let durable = QueueDeclareOptions::durable();
        let topic = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let table = FieldTable::default;
        channel.exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, topic, table()).await?;
        channel.queue_declare(dead.as_str().into(), durable, quorum()).await?;
        let mut arguments = quorum();
        arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
        arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(dead.as_str().into()));
        channel.queue_declare(queue.as_str().into(), durable, arguments).await?;
        let bind = QueueBindOptions::default();
        channel.queue_bind(queue.as_str().into(), exchange.as_str().into(), "#".into(), bind, table()).await
    };
    match timeout(DECLARING, declaring).await {
        Ok(declared) => declared.map_err(|error| failed(DOING, &error)),
        Err(_) => Err(passing(DOING, format!("no answer within {DECLARING:?}"))),
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}
