/** Why something that was recorded is not believed. */
final class Refused extends RuntimeException {
    private static final long serialVersionUID = 1;

    Refused(String why) {
        super(why);
    }

    static void unless(boolean holds, String why) {
        if (!holds) {
            throw new Refused(why);
        }
    }

    /** What was made anew from the same parameters is the same, byte by byte. */
    static void unlessSame(String anew, String recorded, String what) {
        unless(anew.equals(recorded), what + " made anew is " + anew + ", recorded was " + recorded);
    }
}
