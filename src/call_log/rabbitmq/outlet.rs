use super::{Address, CallLogError, Link, RabbitMqSettings, declare, failed, passing, short};
use crate::call_log::{Line, Outlet, Pauses, Refused};
use async_trait::async_trait;
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Confirmation, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use std::{borrow::Cow, collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long the broker may say nothing while it is waited for.
const ANSWERING: Duration = Duration::from_secs(4);
/// For a connection with everything on it.
const CONNECTING: Duration = Duration::from_secs(4);
/// Messages that are written at once, and groups of them that are under way.
const GROUP: usize = 500;
const GROUP_BYTES: usize = 1 << 20;
const GROUPS: usize = 4;

/// Publishes records to RabbitMQ.
///
/// After a failure the connection is thrown away; the next `send` waits its pause and makes a new one.
/// When the broker is away that takes ten seconds at most: two for the pause, four to connect, four
/// for the first confirms. `send` goes on for as long as the broker keeps confirming.
pub struct RabbitOutlet {
    settings: RabbitMqSettings,
    address: Address,
    link: Option<Link>,
    pauses: Pauses,
    not_before: Option<Instant>,
}

impl RabbitOutlet {
    /// An outlet with these settings. It connects when there is something to send.
    pub fn new(settings: &RabbitMqSettings) -> Result<Self, CallLogError> {
        let (settings, address) = (settings.clone(), Address::new(settings)?);
        Ok(Self { settings, address, link: None, pauses: Pauses::of("outlet"), not_before: None })
    }

    async fn try_send(&mut self, lines: &[Line]) -> Result<(), CallLogError> {
        if let Some(time) = self.not_before {
            sleep_until(time).await;
        }
        // Whoever gives up waiting for us throws the connection away with what is under way on it.
        let link = match self.link.take() {
            Some(link) if link.is_up() => link,
            _ => self.connect().await?,
        };
        let sent = self.publish_declared(&link, lines).await;
        // Were a blocked connection dropped, the broker would not even notice: it does not read it. The
        // next one would be blocked as well.
        if sent.is_ok() || (link.is_blocked() && link.is_up()) {
            self.link = Some(link);
        }
        sent
    }

    async fn connect(&self) -> Result<Link, CallLogError> {
        const DOING: &str = "connecting to the broker";
        let connecting = async {
            let link = Link::open(&self.address, "rowcall call log").await?;
            declare(&link.channel, &self.settings).await?;
            let confirms = link.channel.confirm_select(ConfirmSelectOptions::default()).await;
            confirms.map_err(|error| failed(DOING, &error))?;
            Ok(link)
        };
        let late = |_| Err(passing(DOING, format!("{}: not within {CONNECTING:?}", self.address)));
        timeout(CONNECTING, connecting).await.unwrap_or_else(late)
    }

    /// Once more if nobody took them: then the queue or its binding is gone, and is declared again.
    async fn publish_declared(&self, link: &Link, lines: &[Line]) -> Result<(), CallLogError> {
        unblocked(link).await?;
        let messages = pack(lines, self.settings.batch.get() as usize);
        match self.publish(link, &messages).await? {
            0 => return Ok(()),
            returned => {
                tracing::warn!(queue = %self.settings.queue, returned, "no queue took records: declaring it again");
            }
        }
        declare(&link.channel, &self.settings).await?;
        match self.publish(link, &messages).await? {
            0 => Ok(()),
            returned => {
                Err(passing(PUBLISHING, format!("{returned} messages came back: no queue takes them")))
            }
        }
    }

    /// Publishes, and waits until all are confirmed; says how many came back.
    async fn publish(&self, link: &Link, messages: &[Message<'_>]) -> Result<usize, CallLogError> {
        let mut under_way = VecDeque::new();
        let mut returned = 0;
        for group in groups(messages) {
            if under_way.len() == GROUPS
                && let Some(oldest) = under_way.pop_front()
            {
                returned += confirmed(link, oldest).await?;
            }
            let writing = try_join_all(group.iter().map(|message| self.write(link, message)));
            match timeout(ANSWERING, writing).await {
                Ok(Ok(confirms)) => under_way.push_back(confirms),
                Ok(Err(error)) => return Err(failed(PUBLISHING, &error)),
                Err(_) => return Err(silent(link)),
            }
        }
        for confirms in under_way {
            returned += confirmed(link, confirms).await?;
        }
        Ok(returned)
    }

    async fn write(&self, link: &Link, message: &Message<'_>) -> lapin::Result<PublisherConfirm> {
        let properties = BasicProperties::default()
            .with_message_id(message.id.clone())
            .with_content_type("application/json".into())
            .with_app_id("rowcall".into())
            // Persistent.
            .with_delivery_mode(2);
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = self.settings.exchange.as_str().into();
        link.channel.basic_publish(exchange, message.key.clone(), options, &message.body, properties).await
    }
}

#[async_trait]
impl Outlet for RabbitOutlet {
    async fn send(&mut self, lines: &Arc<[Line]>) -> Result<Vec<Refused>, CallLogError> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let sent = self.try_send(lines).await;
        match &sent {
            Ok(()) => {
                self.pauses.over();
                self.not_before = None;
            }
            Err(_) => self.not_before = Some(Instant::now() + self.pauses.lengthen()),
        }
        sent.map(|()| Vec::new())
    }
}

const PUBLISHING: &str = "publishing records of calls";

/// Waits until the broker takes messages again, for some time.
async fn unblocked(link: &Link) -> Result<(), CallLogError> {
    let deadline = Instant::now() + ANSWERING;
    while link.is_blocked() {
        if Instant::now() >= deadline {
            return Err(silent(link));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Waits for a group's confirms; how many of it came back.
async fn confirmed(link: &Link, confirms: Vec<PublisherConfirm>) -> Result<usize, CallLogError> {
    let all = match timeout(ANSWERING, try_join_all(confirms)).await {
        Ok(all) => all.map_err(|error| failed(PUBLISHING, &error))?,
        Err(_) => return Err(silent(link)),
    };
    let mut returned = 0;
    for confirmation in all {
        match confirmation {
            Confirmation::Ack(None) => {}
            Confirmation::Ack(Some(_)) => returned += 1,
            Confirmation::Nack(_) => return Err(passing(PUBLISHING, "the broker could not take a message")),
            Confirmation::NotRequested => return Err(passing(PUBLISHING, "the channel does not confirm")),
        }
    }
    Ok(returned)
}

fn silent(link: &Link) -> CallLogError {
    let message = match link.is_blocked() {
        true => "the broker takes no messages: it is short of memory or disk".to_owned(),
        false => format!("no answer within {ANSWERING:?}"),
    };
    passing(PUBLISHING, message)
}

struct Message<'a> {
    id: ShortString,
    key: ShortString,
    body: Cow<'a, [u8]>,
}

/// One message a record, or several records of a route in one. Of a route the order stays.
fn pack(lines: &[Line], batch: usize) -> Vec<Message<'_>> {
    let key = |line: &Line| short(&format!("call.{}", line.route()));
    if batch == 1 {
        let whole = lines.iter().map(|line| Message {
            id: short(line.id()),
            key: key(line),
            body: Cow::Borrowed(line.json()),
        });
        return whole.collect();
    }
    let mut routes: Vec<(&str, Vec<&Line>)> = Vec::new();
    for line in lines {
        match routes.iter_mut().find(|(route, _)| *route == line.route()) {
            Some((_, lines)) => lines.push(line),
            None => routes.push((line.route(), vec![line])),
        }
    }
    let packs = routes.iter().flat_map(|(_, lines)| lines.chunks(batch));
    let packed = packs.map(|lines| {
        let bodies: Vec<&[u8]> = lines.iter().map(|line| line.json()).collect();
        let body = [b"[", &*bodies.join(&b","[..]), b"]"].concat();
        Message { id: short(lines[0].id()), key: key(lines[0]), body: Cow::Owned(body) }
    });
    packed.collect()
}

/// Neighbours, bounded in number and bytes.
fn groups<'a, 'b>(messages: &'a [Message<'b>]) -> impl Iterator<Item = &'a [Message<'b>]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = rest.iter().take(GROUP).take_while(|it| {
            bytes += it.body.len();
            bytes <= GROUP_BYTES
        });
        let (group, behind) = rest.split_at(fits.count().max(1).min(rest.len()));
        rest = behind;
        (!group.is_empty()).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_record_or_several_of_one_route() {
        let lines =
            [("1", "a"), ("2", "b"), ("3", "a"), ("4", "a")].map(|(it, route)| Line::new(it, route, it));
        let said = |batch| {
            let of = |it: &Message<'_>| format!("{} {} {}", it.id, it.key, String::from_utf8_lossy(&it.body));
            pack(&lines, batch).iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(said(1), ["1 call.a 1", "2 call.b 2", "3 call.a 3", "4 call.a 4"]);
        assert_eq!(said(2), ["1 call.a [1,3]", "4 call.a [4]", "2 call.b [2]"]);
    }

    #[test]
    fn groups_are_bounded_and_hold_everything() {
        let big = "x".repeat(GROUP_BYTES / 2 - 1);
        let lines: Vec<Line> = (0..GROUP + 1)
            .map(|it| Line::new(&it.to_string(), "r", "1"))
            .chain([("b1", 1), ("b2", 1), ("b3", 3)].map(|(id, times)| Line::new(id, "r", big.repeat(times))))
            .collect();
        let sizes: Vec<usize> = groups(&pack(&lines, 1)).map(<[_]>::len).collect();
        assert_eq!(sizes, [GROUP, 3, 1]);
        assert_eq!(groups(&[]).count(), 0);
    }
}
