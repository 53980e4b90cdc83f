use super::{Address, CallLogError, Link, RabbitMqSettings, failed, passing};
use lapin::{
    Channel, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};
use std::time::Duration;
use tokio::time::timeout;

/// The header of a message in the dead-letter queue that says why it is there.
pub const DEAD_REASON: &str = "x-rowcall-reason";

const DECLARING: Duration = Duration::from_secs(3);
const DOING: &str = "declaring the call log's exchange and queues";

/// Declares what records go through; what is there already stays as it is.
///
/// Both queues are quorum queues: what was confirmed is on disk, with several nodes on most of them.
/// What a policy of the broker's takes out of the keeper's queue goes to the dead-letter queue too.
pub async fn declare(channel: &Channel, settings: &RabbitMqSettings) -> Result<(), CallLogError> {
    let RabbitMqSettings { exchange, queue, dead, .. } = settings;
    for (key, name) in [("exchange", exchange), ("queue", queue), ("dead", dead)] {
        if name.is_empty() || name.len() > 255 {
            let message = format!("`{key}` has {} bytes: a name has 1 to 255", name.len());
            return Err(CallLogError { doing: DOING, message, lasting: true });
        }
    }
    let declaring = async {
        for part in [Part::Exchange, Part::Dead, Part::Queue] {
            part.declare(channel, settings, false).await?;
        }
        let (bind, table) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.as_str().into(), exchange.as_str().into(), "#".into(), bind, table).await
    };
    in_time(declaring).await?.map_err(|error| failed(DOING, &error))
}

/// What is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Exchange,
    Dead,
    Queue,
}

/// How many messages wait in a queue, and how many read it.
type Depth = (u32, u32);

impl Part {
    fn name(self, settings: &RabbitMqSettings) -> &str {
        match self {
            Self::Exchange => &settings.exchange,
            Self::Dead => &settings.dead,
            Self::Queue => &settings.queue,
        }
    }

    /// `passive`: nothing is made, and only whether it is there matters.
    async fn declare(
        self,
        channel: &Channel,
        settings: &RabbitMqSettings,
        passive: bool,
    ) -> lapin::Result<Depth> {
        let name = self.name(settings).into();
        if self == Self::Exchange {
            let topic =
                ExchangeDeclareOptions { durable: true, passive, ..ExchangeDeclareOptions::default() };
            let declared = channel.exchange_declare(name, ExchangeKind::Topic, topic, FieldTable::default());
            return declared.await.map(|()| (0, 0));
        }
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        if self == Self::Queue {
            let dead = settings.dead.as_str().into();
            arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
            arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString(dead));
        }
        let durable = QueueDeclareOptions { passive, ..QueueDeclareOptions::durable() };
        let declared = channel.queue_declare(name, durable, arguments).await?;
        Ok((declared.message_count(), declared.consumer_count()))
    }
}

/// What a look at the broker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What is not there yet.
    pub missing: Vec<String>,
    /// What is there, and not as it has to be, or may not be used.
    pub wrong: Vec<String>,
    /// Messages that wait for a keeper.
    pub waiting: u32,
    /// How many read them.
    pub readers: u32,
    /// Messages in the dead-letter queue.
    pub dead: u32,
}

/// Looks whether the broker can be reached by these settings, and what is there. Makes nothing.
pub async fn inspect(settings: &RabbitMqSettings) -> Result<Inspection, CallLogError> {
    let link = Link::open(&Address::new(settings)?, "rowcall check").await?;
    let mut found = Inspection::default();
    for part in [Part::Exchange, Part::Dead, Part::Queue] {
        let name = part.name(settings);
        let looking = async {
            let (waiting, readers) = part.declare(&link.another_channel().await?, settings, true).await?;
            // It is there: so declaring it again compares, and makes nothing.
            part.declare(&link.another_channel().await?, settings, false).await?;
            Ok::<Depth, lapin::Error>((waiting, readers))
        };
        match in_time(looking).await? {
            Ok((waiting, readers)) if part == Part::Queue => {
                (found.waiting, found.readers) = (waiting, readers)
            }
            Ok((waiting, _)) => found.dead = found.dead.max(waiting),
            Err(error) if is_missing(&error) => found.missing.push(name.to_owned()),
            Err(error) => found.wrong.push(format!("`{name}`: {}", failed(DOING, &error).message)),
        }
    }
    link.close().await;
    Ok(found)
}

fn is_missing(error: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, CallLogError> {
    let late = |_| passing(DOING, format!("no answer within {DECLARING:?}"));
    timeout(DECLARING, work).await.map_err(late)
}
