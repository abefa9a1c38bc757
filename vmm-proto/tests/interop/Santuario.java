// XML Encryption by Apache Santuario: opens what we sealed and encrypts for us, all cases of a directory in one go.
//
//   java -cp … Santuario.java DIRECTORY
//
// For each NAME.key: NAME.sealed becomes NAME.opened, and NAME.plain becomes NAME.encrypted. What cannot be opened gives no file.

import java.io.ByteArrayInputStream;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.crypto.spec.SecretKeySpec;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.transform.OutputKeys;
import javax.xml.transform.Transformer;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import org.apache.xml.security.encryption.EncryptedData;
import org.apache.xml.security.encryption.XMLCipher;
import org.apache.xml.security.encryption.XMLEncryptionException;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

public class Santuario {
    private static final String XENC = "http://www.w3.org/2001/04/xmlenc#";

    public static void main(String[] arguments) throws Exception {
        org.apache.xml.security.Init.init();
        for (File file : new File(arguments[0]).listFiles((directory, name) -> name.endsWith(".key"))) {
            String path = file.getPath();
            String name = path.substring(0, path.length() - ".key".length());
            SecretKeySpec key = new SecretKeySpec(Files.readAllBytes(file.toPath()), "AES");
            open(name, key);
            encrypt(name, key);
        }
    }

    private static void open(String name, SecretKeySpec key) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        Document document = factory.newDocumentBuilder().parse(new File(name + ".sealed"));
        Element data = (Element) document.getElementsByTagNameNS(XENC, "EncryptedData").item(0);
        XMLCipher cipher = XMLCipher.getInstance();
        cipher.init(XMLCipher.DECRYPT_MODE, key);
        try {
            Files.write(Path.of(name + ".opened"), cipher.decryptToByteArray(data));
        } catch (XMLEncryptionException refused) {
            System.err.println(name + ": " + refused.getMessage());
        }
    }

    private static void encrypt(String name, SecretKeySpec key) throws Exception {
        Document document = DocumentBuilderFactory.newInstance().newDocumentBuilder().newDocument();
        XMLCipher cipher = XMLCipher.getInstance("http://www.w3.org/2009/xmlenc11#aes256-gcm");
        cipher.init(XMLCipher.ENCRYPT_MODE, key);
        byte[] plain = Files.readAllBytes(Path.of(name + ".plain"));
        EncryptedData data = cipher.encryptData(document, XENC + "Element", new ByteArrayInputStream(plain));
        Transformer transformer = TransformerFactory.newInstance().newTransformer();
        transformer.setOutputProperty(OutputKeys.OMIT_XML_DECLARATION, "yes");
        StreamResult out = new StreamResult(new File(name + ".encrypted"));
        transformer.transform(new DOMSource(cipher.martial(document, data)), out);
    }
}
