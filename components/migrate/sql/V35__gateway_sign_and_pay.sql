-- The order that was asked for with an agreement: it is paid as soon as that holds.
SET LOCAL lock_timeout = '5s';
ALTER TABLE gateway.agreements ADD COLUMN order_id uuid REFERENCES gateway.orders;
CREATE UNIQUE INDEX agreements_of_order ON gateway.agreements (order_id) WHERE order_id IS NOT NULL;
