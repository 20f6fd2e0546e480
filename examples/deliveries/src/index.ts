export { type Delivery, type DeliveryOptions, QUEUE, startDeliveries } from "./deliver.ts";
export { startReceiver } from "./receiver.ts";
