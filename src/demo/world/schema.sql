create sequence if not exists versions;

create or replace function next_version() returns trigger language plpgsql as
$$ begin new.version := nextval('versions'); return new; end $$;

create table if not exists customers (
    id      bigint primary key,
    name    text not null,
    phone   text,
    version bigint not null
);

create table if not exists loans (
    id          bigint primary key,
    customer_id bigint not null references customers on update cascade on delete cascade,
    amount      numeric(14, 2) not null,
    status      text not null,
    months      int not null,
    version     bigint not null
);

create table if not exists collateral (
    id      bigint primary key,
    loan_id bigint not null references loans on update cascade on delete cascade,
    kind    text not null,
    value   numeric not null,
    version bigint not null
);

create index if not exists loans_of_customer on loans (customer_id);
create index if not exists collateral_of_loan on collateral (loan_id);

create or replace trigger version before insert or update on customers for each row execute function next_version();
create or replace trigger version before insert or update on loans for each row execute function next_version();
create or replace trigger version before insert or update on collateral for each row execute function next_version();
