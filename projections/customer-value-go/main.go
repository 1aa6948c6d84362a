// One row for each customer: how many orders, what was paid, how often they
// cancelled.
package main

import (
	"time"

	"gnomon"
)

// CustomerValue is a row of the table.
type CustomerValue struct {
	CustomerID  string     `gnomon:"customer_id,key"`
	Orders      int64      `gnomon:"orders"`
	PaidCents   int64      `gnomon:"paid_cents"`
	Cancelled   int64      `gnomon:"cancelled"`
	LastOrderAt *time.Time `gnomon:"last_order_at"`
}

var customers = gnomon.NewTable[CustomerValue]("customer_value")

// What the events say, as far as it matters here.
type (
	OrderPlaced struct {
		CustomerID string `json:"customer_id"`
	}
	PaymentReceived struct {
		CustomerID  string `json:"customer_id"`
		AmountCents int64  `json:"amount_cents"`
	}
	OrderCancelled struct {
		CustomerID string `json:"customer_id"`
	}
)

func init() {
	gnomon.Projection("customer_value", 1)

	gnomon.On("OrderPlaced", func(event *gnomon.Event, order OrderPlaced) error {
		customers.Merge(gnomon.Key{order.CustomerID},
			gnomon.Add("orders", 1),
			gnomon.Max("last_order_at", event.RecordedAt))
		return nil
	})

	gnomon.On("PaymentReceived", func(_ *gnomon.Event, payment PaymentReceived) error {
		customers.Merge(gnomon.Key{payment.CustomerID}, gnomon.Add("paid_cents", payment.AmountCents))
		return nil
	})

	gnomon.On("OrderCancelled", func(_ *gnomon.Event, order OrderCancelled) error {
		customers.Merge(gnomon.Key{order.CustomerID}, gnomon.Add("cancelled", 1))
		return nil
	})
}

func main() {}
