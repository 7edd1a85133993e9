/** What a network's kit says of our traffic. Each returns, or throws why it does not believe it. */
interface Network {
    /** The merchant's request: verified, and its signature made anew. */
    void request(Exchange exchange) throws Exception;

    /** The network's answer to it. */
    void reply(Exchange exchange) throws Exception;

    /** What the network told the merchant. */
    void notification(Exchange exchange) throws Exception;

    /** What it is counted under: the network, and the way to sign where there are several. */
    String name(Exchange exchange);
}
