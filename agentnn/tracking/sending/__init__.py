"""From the journals to the store: the sender process, what it has delivered, and how it is started and woken."""
