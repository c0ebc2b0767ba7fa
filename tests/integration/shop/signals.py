"""The shop's signals."""

from __future__ import annotations

from blinker import Namespace, Signal

_namespace = Namespace()

# What happens in a shop.
customer_registered = _namespace.signal("customer-registered")
customer_left = _namespace.signal("customer-left")
order_placed = _namespace.signal("order-placed")
order_paid = _namespace.signal("order-paid")
order_shipped = _namespace.signal("order-shipped")
parcel_scanned = _namespace.signal("parcel-scanned")
stock_counted = _namespace.signal("stock-counted")
door_opened = _namespace.signal("door-opened")
catalogue_read = _namespace.signal("catalogue-read")
report_wanted = _namespace.signal("report-wanted")

# What goes wrong there.
card_declined = _namespace.signal("card-declined")
printer_jammed = _namespace.signal("printer-jammed")
echo_heard = _namespace.signal("echo-heard")
echo_answered = _namespace.signal("echo-answered")

# What has its time.
reminder_due = _namespace.signal("reminder-due")
offer_made = _namespace.signal("offer-made")

day_closed = _namespace.signal("day-closed")

bell = Signal()
"""Anonymous."""
