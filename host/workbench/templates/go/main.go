// What customers spend: one row for each of them.
package main

import (
	"time"

	"gnomon"
)

// Customer is a row of the table.
type Customer struct {
	CustomerID  string     `gnomon:"customer_id,key"`
	Orders      int64      `gnomon:"orders"`
	SpentCents  int64      `gnomon:"spent_cents"`
	LastOrderAt *time.Time `gnomon:"last_order_at"`
}

var customers = gnomon.NewTable[Customer]("{{projection}}")

// OrderPlaced has what is wanted of such an event's data.
type OrderPlaced struct {
	CustomerID string `json:"customer_id"`
}

// PaymentReceived has what is wanted of such an event's data.
type PaymentReceived struct {
	CustomerID  string `json:"customer_id"`
	AmountCents int64  `json:"amount_cents"`
}

func init() {
	// Increase the version whenever the same events should produce different rows.
	gnomon.Projection("{{projection}}", 1)

	// Merge creates the row if it is missing, each column at zero.
	gnomon.On("OrderPlaced", func(event *gnomon.Event, order OrderPlaced) error {
		customers.Merge(gnomon.Key{order.CustomerID},
			gnomon.Add("orders", 1),
			gnomon.Max("last_order_at", event.RecordedAt))
		return nil
	})

	gnomon.On("PaymentReceived", func(_ *gnomon.Event, payment PaymentReceived) error {
		if payment.AmountCents < 0 {
			return gnomon.Reject("a payment of %d cents", payment.AmountCents)
		}
		customers.Merge(gnomon.Key{payment.CustomerID}, gnomon.Add("spent_cents", payment.AmountCents))
		return nil
	})
}

func main() {}
